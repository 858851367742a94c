"""Declare how the pages of an answer are found, and what an answer says about its own length."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from tnt_platform.specs.fields import JmesPath, Unit
from tnt_platform.specs.spec import Mistake, Spec, rule


class PagedSource(Spec):
    """A source whose answer may have several pages."""

    page_parameter: Annotated[
        str | None,
        Field(
            min_length=1,
            description="Parameter of the URL's query for the number of a page, such as `page`: by it, all of `pages` "
            "are fetched.",
        ),
    ] = None
    next_page: Annotated[
        JmesPath | None,
        Field(
            description="JMESPath of the link to the next page, or of its cursor; the last page has none. All pages "
            "are fetched."
        ),
    ] = None
    cursor_parameter: Annotated[
        str | None,
        Field(
            min_length=1, description="Parameter of the URL's query for the cursor that `next_page` finds."
        ),
    ] = None
    max_pages: Annotated[
        int, Field(ge=1, le=10_000, description="Most pages of an answer."), Unit("pages")
    ] = 100
    trust_unchanged_days: Annotated[
        float,
        Field(
            ge=0,
            description="How long the server's word is taken that nothing has changed (304, by ETag or "
            "Last-Modified); after that, the whole content is asked for once.",
        ),
        Unit("days"),
    ] = 7

    @rule
    def _pages_are_found_in_one_way(self) -> Iterator[Mistake]:
        if self.page_parameter and self.next_page:
            yield Mistake(
                "page_parameter and next_page are both given", "one of them", "delete one", at=("next_page",)
            )
        if self.cursor_parameter and not self.next_page:
            wrong, fix = "cursor_parameter has no effect", "add next_page, the path of the cursor"
            yield Mistake(wrong, "it with next_page", fix, at=("cursor_parameter",))
        if "max_pages" in self.model_fields_set and not (self.page_parameter or self.next_page):
            wrong, fix = "max_pages has no effect", "delete it, or add page_parameter or next_page"
            yield Mistake(wrong, "it with page_parameter or next_page", fix, at=("max_pages",))


class CountedAnswer(Spec):
    """An answer that may say how long it is."""

    count: Annotated[
        JmesPath | None,
        Field(
            description="JMESPath of the number of records of the whole answer in it; an answer with another number is "
            "rejected."
        ),
    ] = None
    pages: Annotated[
        JmesPath | None,
        Field(
            description="JMESPath of the number of pages in the answer; one of which pages are missing is rejected."
        ),
    ] = None

    @rule
    def _pages_are_counted(self) -> Iterator[Mistake]:
        source = getattr(self, "source", None)
        if getattr(source, "page_parameter", None) and self.pages is None:
            fix = "add pages, the path of their number in the answer"
            yield Mistake(
                "source.page_parameter is given, but not pages",
                "the number of pages",
                fix,
                at=("source", "page_parameter"),
            )
