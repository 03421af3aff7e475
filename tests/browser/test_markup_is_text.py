"""Whatever a customer wrote is shown as text: every field that a page shows holds markup, on every page."""

from dataclasses import dataclass, field

from playwright.sync_api import Page

from tests.browser.pages import PAGES, World
from tests.integration.api.service import Service

INJECTED = "img[src='x'], script:not([src]), [onfocus], [onerror], main b"
MARKS = "<img src=x onerror=owned=1><script>owned=1</script>\"' onfocus=owned=1 autofocus {{7*7}} &lt;b&gt;"


@dataclass
class Texts:
    """Makes of each plain text one that is told from all others, and keeps them."""

    made: dict[str, str] = field(default_factory=dict)

    def __call__(self, plain: str) -> str:
        return self.made.setdefault(plain, f"{plain}{MARKS}mark{len(self.made)};")


def test_markup_in_any_field_is_text_on_every_page(page: Page, service: Service) -> None:
    texts = Texts()
    world = World.made(service, text=texts)
    unseen = set(texts.made.values())
    for name, one in PAGES.items():
        if not one.is_signed_in:
            continue
        page.goto(world.path(one))
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        assert page.locator("h1").count() == 1, name
        assert page.evaluate("window.owned === undefined"), name
        assert page.locator(INJECTED).count() == 0, name
        assert "49" not in _around(page.content()), f"{name}: what was written was a template"
        values = page.evaluate("[...document.querySelectorAll('option, input')].map(one => one.value)")
        shown = " ".join([*page.inner_text("body").split(), *values])
        unseen = {text for text in unseen if text not in shown}
    assert not unseen, "each text of the world is on a page, as it was written"


def _around(content: str) -> str:
    """What stands where the template's mark would have been."""
    places = content.split("autofocus ")[1:]
    return "".join(place[:9] for place in places)
