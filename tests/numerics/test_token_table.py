"""AdamW on the rows of the token table that occur, against torch's dense AdamW, in float64."""

import pytest
import torch
from torch import nn
from torch.nn.functional import embedding

from sanitizer.training.optimizer import TokenTable, made_dense

NUM_ROWS, WIDTH = 40, 6
OPTIONS = {"betas": (0.8, 0.95), "weight_decay": 0.3}
BATCHES = [[3, 3, 7], [7, 1], [39, 7, 0], [3, 12], [12, 12, 12], [0, 5]]
RATES = [0.01, 0.03, 0.02, 0.05, 0.01, 0.004]


def new_table() -> nn.Embedding:
    torch.manual_seed(4)
    return nn.Embedding(NUM_ROWS, WIDTH, dtype=torch.float64)


def loss(table: nn.Embedding, tokens: list[int], step: int) -> torch.Tensor:
    rows = embedding(torch.tensor(tokens), table.weight, sparse=table.sparse)
    return (rows.cumsum(dim=0).sin() * (1 + step)).sum()


def dense(num_steps: int) -> tuple[nn.Embedding, torch.optim.AdamW]:
    table = new_table()
    optimizer = torch.optim.AdamW([table.weight], eps=1e-6, **OPTIONS)
    train_dense(table, optimizer, range(num_steps))
    return table, optimizer


def train_dense(table: nn.Embedding, optimizer: torch.optim.AdamW, steps: range) -> None:
    for step in steps:
        optimizer.param_groups[0]["lr"] = RATES[step]
        optimizer.zero_grad()
        loss(table, BATCHES[step], step).backward()
        optimizer.step()


def kept_apart(num_steps: int) -> tuple[nn.Embedding, TokenTable]:
    table = new_table()
    apart = TokenTable(table, epsilon=1e-6, **OPTIONS)
    train_apart(table, apart, range(num_steps))
    return table, apart


def train_apart(table: nn.Embedding, apart: TokenTable, steps: range) -> None:
    for step in steps:
        apart.expect(torch.tensor(BATCHES[step]))
        table.weight.grad = None
        loss(table, BATCHES[step], step).backward()
        assert table.weight.grad.is_sparse
        apart.step(RATES[step])


@pytest.mark.parametrize("num_steps", range(len(BATCHES) + 1))
def test_the_table_is_that_of_dense_adamw(num_steps: int) -> None:
    expected, _ = dense(num_steps)
    table, apart = kept_apart(num_steps)
    apart.finish()
    torch.testing.assert_close(table.weight, expected.weight, rtol=1e-13, atol=1e-15)
    assert not table.sparse


def test_rows_that_have_occurred_are_right_before_the_end_and_others_wait() -> None:
    expected, _ = dense(4)
    table, _ = kept_apart(4)
    seen = sorted({token for tokens in BATCHES[:4] for token in tokens})
    never = [row for row in range(NUM_ROWS) if row not in seen]
    torch.testing.assert_close(table.weight[seen], expected.weight[seen], rtol=1e-13, atol=1e-15)
    assert torch.equal(table.weight[never], new_table().weight[never])


def test_without_a_gradient_nothing_decays() -> None:
    table, apart = kept_apart(0)
    apart.step(0.1)
    apart.finish()
    assert torch.equal(table.weight, new_table().weight)


@pytest.mark.parametrize("cut", range(len(BATCHES) + 1))
def test_a_table_that_was_exported_goes_on_to_the_last_bit(cut: int) -> None:
    uncut, whole = kept_apart(len(BATCHES))
    whole.finish()
    table, first = kept_apart(cut)
    again = nn.Embedding.from_pretrained(table.weight.detach().clone(), freeze=False)
    second = TokenTable(again, epsilon=1e-6, **OPTIONS)
    second.restore(first.export())
    train_apart(again, second, range(cut, len(BATCHES)))
    second.finish()
    assert torch.equal(again.weight, uncut.weight)


@pytest.mark.parametrize("cut", range(1, len(BATCHES)))
def test_a_run_may_go_on_dense_and_a_dense_one_with_its_table_apart(cut: int) -> None:
    expected, _ = dense(len(BATCHES))
    table, apart = kept_apart(cut)
    known = made_dense(table.weight, apart.export())
    plain = nn.Embedding.from_pretrained(table.weight.detach().clone(), freeze=False)
    optimizer = torch.optim.AdamW([plain.weight], eps=1e-6, **OPTIONS)
    optimizer.state[plain.weight] = known
    train_dense(plain, optimizer, range(cut, len(BATCHES)))
    torch.testing.assert_close(plain.weight, expected.weight, rtol=1e-13, atol=1e-15)

    plain, optimizer = dense(cut)
    apart = TokenTable(plain, epsilon=1e-6, **OPTIONS)
    apart.restore(optimizer.state[plain.weight])
    train_apart(plain, apart, range(cut, len(BATCHES)))
    apart.finish()
    torch.testing.assert_close(plain.weight, expected.weight, rtol=1e-13, atol=1e-15)
