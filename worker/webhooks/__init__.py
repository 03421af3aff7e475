"""The deliverer: sends to customers' servers what their webhooks wait for. `python -m worker.webhooks`."""
