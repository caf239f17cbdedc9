"""Structure of the HTML pages of reports."""

import html.parser
import re

_VOID = {"meta", "input", "img"}


class Page(html.parser.HTMLParser):
    """The blocks of a page in order, as pairs of tag and text; fails if tags are not nested.

    Paragraphs of quotations, which hold warnings, are blocks of the tag ``warning``.
    """

    def __init__(self, text):
        super().__init__()
        self.open, self.blocks, self.links, self.checkboxes, self.title = [], [], [], 0, ""
        self.feed(text)
        assert not self.open
        self.blocks = [(tag, text.strip()) for tag, text in self.blocks]

    def handle_starttag(self, tag, attrs):
        if tag == "p" and "blockquote" in self.open:
            self.blocks.append(["warning", ""])
        elif tag in ("h1", "h2", "h3", "p", "li", "figcaption", "img", "table", "th", "td"):
            self.blocks.append([tag, ""])
        self.links += [value for name, value in attrs if name in ("src", "href")]
        if tag == "input" and "label" in self.open:
            self.checkboxes += 1
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "title" in self.open:
            self.title += data
        elif self.blocks and not {"script", "style"} & set(self.open):
            self.blocks[-1][1] += data

    def texts(self, *tags):
        return [text for tag, text in self.blocks if tag in tags]


def check(text, *, num_pictures):
    """Check the parts that all reports share, and return the page."""
    page = Page(text)
    tags = [tag for tag, _ in page.blocks]
    assert tags[0] == "h1" and page.texts("h1") == [page.title]
    # Warnings, headline, picture, details.
    assert set(tags[1 : tags.index("p")]) <= {"warning"}
    assert re.search(r"\d", page.texts("p")[0])
    assert tags.index("p") < tags.index("img") < min(tags.index("table"), tags.index("h2"))
    assert page.texts("h2")[-1] == "Provenance"
    last = len(tags) - tags[::-1].index("h2")
    assert tags[last : last + 2] == ["figcaption", "table"]
    assert set(tags[last + 2 :]) <= {"th", "td"}
    # Captions above tables and below pictures.
    above_tables = [page.blocks[i - 1] for i, tag in enumerate(tags) if tag == "table"]
    assert all(tag == "figcaption" for tag, _ in above_tables)
    *captions, provenance = (caption for _, caption in above_tables)
    assert provenance == "How this report was made."
    for caption in captions:
        measured = re.fullmatch(r"[^\n]+\.\n(Data: .+\. Command: .+)", caption)
        assert measured or caption.endswith("Not measured by this run."), caption
    assert all(tags[i + 1] == "figcaption" for i, tag in enumerate(tags) if tag == "img")
    # Everything is in the file.
    assert len(page.links) == page.checkboxes == num_pictures
    assert all(link.startswith("data:image/png;base64,iVBOR") for link in page.links)
    assert "url(" not in text and "@import" not in text
    # Numbers stay on one line: no ordinary space before an interval or a deviation.
    for block in page.texts("warning", "p", "li", "figcaption", "td"):
        assert not re.search(r"\d (?:±|\[[-+.\d]+,)", block), block
    return page
