import random

import pytest

from infra.stack.bring_up import bring_up, prepare, take_down
from infra.stack.disk import check_room
from infra.stack.inner_tls import FILES, create_certificates
from infra.stack.layout import Home, StackError
from infra.stack.log_rotation import rotate, tail
from infra.stack.ports import LOOPBACK
from infra.stack.status import stack_status


def test_a_new_home_is_its_owners_alone(tmp_path):
    home = Home(tmp_path / "deep" / "home")
    home.create()
    home.create()
    assert home.path.stat().st_mode & 0o777 == 0o700


def test_somebody_elses_folder_is_not_taken_for_a_home(tmp_path):
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(StackError, match=r"holds 'thesis\.txt'.*--home"):
        Home(tmp_path).create()


def test_what_a_rehearsal_left_before_the_first_start_is_andons_own(tmp_path):
    (tmp_path / "rehearsals").mkdir()
    Home(tmp_path).create()


def test_a_file_in_the_place_of_a_directory_is_named(tmp_path):
    (tmp_path / "bucket").touch()
    with pytest.raises(StackError, match=r"bucket is a file where a directory is expected"):
        Home(tmp_path).create()


def test_a_full_disk_is_said_before_anything_is_made(tmp_path):
    with pytest.raises(StackError, match=r"0\.05 GB free, at least 2\.15 GB.*--home"):
        check_room(tmp_path, free=lambda _: 50_000_000)
    check_room(tmp_path / "not" / "yet" / "there")


def test_preparing_twice_keeps_ports_keys_and_secrets(tmp_path):
    home = Home(tmp_path)
    home.create()
    first = prepare(home, random.Random(3))
    kept = [home.secrets_file, home.keys / "engines.pem", home.tls / "bucket.key", home.policy_file]
    before = [path.read_bytes() for path in kept]
    assert prepare(home, random.Random(4)) == first
    assert [path.read_bytes() for path in kept] == before
    assert all(path.stat().st_mode & 0o077 == 0 for path in kept[:3])


def test_a_remembered_port_that_is_taken_stops_up_before_anything_starts(tmp_path):
    import socket

    home = Home(tmp_path)
    home.create()
    port = prepare(home).ports["prefect"]
    with socket.socket() as server:
        server.bind((LOOPBACK, port))
        server.listen()
        with pytest.raises(StackError, match=rf"port {port} .*Prefect.*is taken by process"):
            bring_up(tmp_path)
    assert not home.log("supervisor").exists()


def test_a_half_written_state_stops_up_before_anything_starts(tmp_path):
    home = Home(tmp_path)
    home.create()
    prepare(home)
    home.stack_file.write_text(home.stack_file.read_text()[:100])
    with pytest.raises(StackError, match="half-written"):
        bring_up(tmp_path)
    assert not home.log("supervisor").exists()


def test_status_and_down_of_what_never_was_say_so(tmp_path):
    with pytest.raises(StackError, match="there is no stack here; run `andon up`"):
        stack_status(tmp_path)
    with pytest.raises(StackError, match="there is no home directory"):
        take_down(tmp_path / "nowhere")
    assert take_down(tmp_path) is False


def test_certificates_are_made_once_and_anew_when_one_is_missing(tmp_path):
    home = Home(tmp_path)
    create_certificates(home)
    first = [(home.tls / name).read_bytes() for name in FILES]
    create_certificates(home)
    assert [(home.tls / name).read_bytes() for name in FILES] == first
    (home.tls / "ca.pem").unlink()
    create_certificates(home)
    assert all((home.tls / name).read_bytes() != old for name, old in zip(FILES, first, strict=True))


def test_a_log_that_is_rotated_goes_on_and_keeps_few_old_ones(tmp_path):
    log = tmp_path / "a.log"
    with log.open("ab") as writer:
        for n in range(6):
            writer.write(b"%d" % n * 20 + b"\n")
            writer.flush()
            assert rotate(log, most_bytes=10, kept=3)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.log", "a.log.1", "a.log.2", "a.log.3"]
    assert (tmp_path / "a.log.1").read_text().startswith("5")
    assert (tmp_path / "a.log.3").read_text().startswith("3")
    assert log.stat().st_size == 0
    assert not rotate(log, most_bytes=10)


def test_the_end_of_a_log_is_told_or_why_not(tmp_path):
    log = tmp_path / "a.log"
    assert "No such file" in tail(log)
    log.write_text("".join(f"line {n}\n" for n in range(100)))
    assert tail(log, lines=2) == "line 98\nline 99"
