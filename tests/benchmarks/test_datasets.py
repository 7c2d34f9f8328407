"""The data sets of the benchmarks: their settings are valid, and their names distinct."""

import pytest

from benchmarks.datasets import DATA_SETS, DEVELOPMENT_SETS
from tfbert.config import Config, override, parse_assignments
from tfbert.tasks.base import list_tasks


@pytest.mark.parametrize("entry", DATA_SETS + DEVELOPMENT_SETS, ids=lambda entry: entry.name)
def test_settings_are_config_fields(entry):
    assert entry.task in list_tasks()
    values = parse_assignments(f"{path}={value}" for path, value in entry.settings.items())
    changed = override(Config(), values).to_dict()
    for path, value in values.items():
        section, field = path.split(".")
        assert changed[section][field] == value


def test_names_are_different():
    for entries in (DATA_SETS, DEVELOPMENT_SETS):
        assert len({entry.name for entry in entries}) == len(entries)


def test_three_development_sets_are_held_out():
    assert sum(entry.is_held_out for entry in DEVELOPMENT_SETS) == 3
