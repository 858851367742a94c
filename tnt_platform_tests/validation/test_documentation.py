"""The docs' field tables and the editors' schema are made of the specs: neither can say anything else."""

from __future__ import annotations

import json

import jsonschema
import pytest
import yaml

from tnt_platform.kinds import DEFS, KINDS
from tnt_platform.specs.dataset import DatasetSpec
from tnt_platform.validation.documentation import field_rows, json_schema, undescribed, with_field_tables
from tnt_platform_tests.paths import REPOSITORY

VARIANTS = [variant for kind in KINDS.values() for variant in kind.variants()]
PAGES = sorted((REPOSITORY / "docs" / "datasets").glob("*.md"))
SHIPPED = sorted(DEFS.glob("*/defs.yaml"))


@pytest.mark.parametrize("kind", VARIANTS, ids=lambda kind: kind.__name__)
def test_every_field_has_a_description_and_every_number_a_unit(kind: type[DatasetSpec]) -> None:
    assert undescribed(kind) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_field_tables_of_a_page_are_those_of_the_specs(page) -> None:
    text = page.read_text(encoding="utf-8")
    assert with_field_tables(text, list(KINDS.values())) == text, "run `tnt schema --docs docs`"


@pytest.mark.parametrize("kind", VARIANTS, ids=lambda kind: kind.__name__)
def test_every_kind_has_its_field_table_on_some_page(kind: type[DatasetSpec]) -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert f"<!-- fields of {kind.__name__} -->" in text
    for name, *_ in field_rows(kind):
        assert f"| `{name}` |" in text


def test_the_schema_of_the_editors_is_that_of_the_specs() -> None:
    shipped = json.loads((DEFS / "schema.json").read_text(encoding="utf-8"))
    assert shipped == json.loads(json.dumps(json_schema(KINDS))), (
        "run `tnt schema > tnt_platform/defs/schema.json`"
    )


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.parent.name)
def test_a_shipped_dataset_names_the_schema_and_obeys_it(path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.splitlines()[0] == "# yaml-language-server: $schema=../schema.json"
    jsonschema.validate(yaml.safe_load(text), json_schema(KINDS))


def test_the_schema_finds_an_unknown_key_and_a_wrong_value() -> None:
    dataset = yaml.safe_load((DEFS / "daily_report" / "defs.yaml").read_text(encoding="utf-8"))
    for spoil in ({"totls": []}, {"empty_days": "fine"}, {"sensor": {"interval_s": 0}}):
        spoilt = {**dataset, "attributes": {**dataset["attributes"], **spoil}}
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(spoilt, json_schema(KINDS))
