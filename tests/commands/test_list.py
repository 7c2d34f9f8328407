"""The command list: the same output as train --list."""

import pytest
from support import small


def run(name, capsys, *arguments):
    command = small.load_command(name)
    command.main(command.build_parser(name).parse_args(arguments))
    return capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["--task", "ner"]])
def test_the_list_is_that_of_train(capsys, arguments):
    listed = run("list", capsys, *arguments)
    assert listed == run("train", capsys, "--list", *arguments)
    assert ("data.tag_scheme" in listed) == bool(arguments)


def test_an_unknown_task_is_an_error(capsys):
    with pytest.raises(ValueError, match="task 'clasification' is not one of .*; did you mean 'classification'"):
        run("list", capsys, "--task", "clasification")
