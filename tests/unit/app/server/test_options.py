"""How the API's server is started."""

from app.server.serving_options import server_options
from app.settings import ApiSettings, Settings


def test_a_stop_waits_for_what_is_under_way_as_long_as_the_operator_says() -> None:
    """A streaming upload takes minutes; five seconds, whatever was set, cut it off."""
    for stop_grace_s in (7, 600):
        settings = Settings(api=ApiSettings(stop_grace_s=stop_grace_s))
        assert server_options(settings)["timeout_graceful_shutdown"] == stop_grace_s
