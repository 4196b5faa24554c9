import json
import re
import subprocess
import sys

import pytest

from infra.cli.main import COMMANDS, main


def imported_by(*words: str) -> set[str]:
    """Modules that a real `andon` process imported."""
    code = (
        "import sys; from infra.cli.main import main\n"
        f"try: main({list(words)!r})\n"
        "except SystemExit: pass\n"
        "sys.stderr.write('\\n'.join(sys.modules))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return set(answer.stderr.splitlines())


@pytest.mark.parametrize("words", [["--help"], ["init", "--help"], ["up", "--help"]])
def test_help_imports_nothing_heavy(words):
    heavy = {"numpy", "boto3", "sqlalchemy", "mlflow", "prefect", "torch", "psutil", "onnx", "pyarrow", "cryptography"}
    assert not heavy & imported_by(*words)


def test_the_overview_names_every_command(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert all(re.search(rf"^    {name}\s", shown, re.MULTILINE) for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_tells_its_options(command, capsys):
    told = help_of(capsys, command)
    verb = re.search(r"^    (\w+) ", told.partition("positional arguments:")[2], re.MULTILINE)
    if "..." in told.partition("\n\n")[0] and verb is not None:  # its verbs have options of their own
        told += help_of(capsys, command, verb[1])
    assert {"--home", "--json"} <= set(told.replace("[", " ").replace("]", " ").split())


def help_of(capsys, *words):
    with pytest.raises(SystemExit) as end:
        main([*words, "--help"])
    assert end.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("words", [[], ["fly"], ["init"], ["init", "tiles"], ["up", "--timeout", "-1"], ["enroll"]])
def test_wrong_use_ends_with_code_2(words, capsys):
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    assert "usage: andon" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["status"],
        ["ingest"],
        ["retrain"],
        ["release"],
        ["rollback"],
        ["watch"],
        ["report"],
        ["drift"],
        ["causes", "plates"],
        ["audit"],
        ["revoke", "cam-1"],
    ],
)
def test_without_a_stack_every_command_says_what_to_run(words, tmp_path, capsys):
    assert main([*words, "--home", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "there is no stack here" in said
    assert "andon up" in said
    assert "Traceback" not in said


def test_an_error_is_also_json_when_json_is_asked_for(tmp_path, capsys):
    assert main(["report", "--home", str(tmp_path), "--json"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["kind"] == "ConfigError"
    assert json.loads(out)["error"] in err


def test_a_device_name_with_dots_is_refused_before_anything_is_opened(tmp_path, capsys):
    assert main(["enroll", "../cam", "--home", str(tmp_path)]) == 1
    assert "device name '../cam' is not allowed" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_and_a_class_with_one_image_are_refused_before_anything_is_opened(tmp_path, capsys):
    folder = tmp_path / "images"
    folder.mkdir()
    assert main(["init", "tiles", "--from", str(folder), "--home", str(tmp_path / "home")]) == 1
    assert "the folder is empty" in capsys.readouterr().err
    (folder / "ok").mkdir()
    (folder / "ok" / "a.png").touch()
    assert main(["init", "tiles", "--from", str(folder), "--home", str(tmp_path / "home")]) == 1
    assert "has one image" in capsys.readouterr().err
