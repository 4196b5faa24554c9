import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra.stack.atomic_json import write_json
from infra.stack.layout import Home, StackError
from infra.stack.ports import PORT_NAMES
from infra.stack.process_identity import ProcessIdentity
from infra.stack.secrets_file import StackSecrets, load_secrets
from infra.stack.state import Phase, ProcessState, StackState, load_state

PORTS = {name: 21_000 + n for n, name in enumerate(PORT_NAMES)}


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


def full_state() -> StackState:
    process = ProcessState(
        phase=Phase.READY, identity=ProcessIdentity(pid=77, started=5.5), restarts=2, ready_at=6.0, note="was slow"
    )
    return StackState(ports=PORTS, supervisor=ProcessIdentity(pid=5, started=1.0), processes={"bucket": process})


def test_a_state_reads_back_as_it_was_written(home):
    full_state().save(home)
    assert load_state(home) == full_state()


def test_no_file_is_no_state(home):
    assert load_state(home) is None
    assert load_secrets(home) is None


def test_keys_of_others_survive_a_rewrite(home):
    full_state().save(home)
    document = json.loads(home.stack_file.read_text())
    home.stack_file.write_text(json.dumps({**document, "catalog_url": "postgresql://x"}))
    load_state(home).without_processes().save(home)
    assert json.loads(home.stack_file.read_text())["catalog_url"] == "postgresql://x"


@given(share=st.floats(0, 0.99))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_half_written_state_is_refused_with_the_next_step(home, share):
    full_state().save(home)
    text = home.stack_file.read_text().rstrip()
    home.stack_file.write_text(text[: int(len(text) * share)])
    with pytest.raises(StackError, match=r"damaged.*mv .*andon up"):
        load_state(home)


@pytest.mark.parametrize(
    "change",
    [
        {"ports": {**PORTS, "bucket": "21000"}},
        {"ports": {**PORTS, "bucket": 0}},
        {"ports": {**PORTS, "bucket": PORTS["mlflow"]}},
        {"ports": {"bucket": 1}},
        {"ports": None},
        {"processes": {"bucket": {"phase": "asleep"}}},
        {"processes": {"bucket": None}},
        {"processes": []},
    ],
)
def test_a_foreign_state_is_refused(home, change):
    full_state().save(home)
    document = json.loads(home.stack_file.read_text())
    home.stack_file.write_text(json.dumps({**document, **change}))
    with pytest.raises(StackError, match="damaged or not Andon's"):
        load_state(home)


def test_a_state_of_a_newer_version_is_refused(home):
    full_state().save(home)
    document = json.loads(home.stack_file.read_text())
    home.stack_file.write_text(json.dumps({**document, "format": 2}))
    with pytest.raises(StackError, match="format 2, this version reads 1"):
        load_state(home)


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(home):
    full_state().save(home)
    with pytest.raises(TypeError):
        write_json(home.stack_file, {"a": object()})
    assert load_state(home) == full_state()
    assert [p.name for p in home.path.iterdir()] == ["stack.json"]


def test_secrets_are_their_owners_alone_and_read_back(home):
    made = StackSecrets.generate()
    made.save(home)
    assert home.secrets_file.stat().st_mode & 0o777 == 0o600
    assert load_secrets(home) == made
    assert made.secret_access_key not in repr(made)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"access_key_id": "a"}', '"text"'])
def test_damaged_secrets_are_refused_with_the_next_step(home, text):
    home.secrets_file.write_text(text)
    with pytest.raises(StackError, match=r"secrets\.json is damaged.*restore it.*andon up"):
        load_secrets(home)
