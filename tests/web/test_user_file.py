"""The file of users is read again when it changes, and a wrong one takes nobody's rights away."""

import json
import os
from hashlib import sha256

import pytest

from processor.users import UsersError
from processor.web.user_file import UserFile


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def write(tmp_path):
    """Write the file, as one that is another than before."""
    path, times = tmp_path / "users.json", iter(range(1, 100))

    def write(*names: str, text: str | None = None):
        users = [{"name": name, "role": "reader", "token_sha256": sha256(name.encode()).hexdigest()} for name in names]
        path.write_text(json.dumps({"users": users}) if text is None else text, encoding="utf-8")
        moment = next(times)
        os.utime(path, (moment, moment))
        return path

    return write


def names(users: UserFile) -> list[str]:
    return [each.user.name for each in users.credentials]


def test_without_one_there_are_no_users():
    assert names(UserFile(None)) == []


def test_it_is_read_again_when_it_has_changed(write, clock):
    users = UserFile(write("ulla"), clock)
    write("ulla", "per")
    assert names(users) == ["ulla"]
    clock.now += 1
    assert names(users) == ["ulla", "per"]
    write()
    clock.now += 1
    assert names(users) == []


def test_one_that_is_wrong_is_told_of_once_and_the_users_stay(write, clock, capsys):
    users = UserFile(write("ulla"), clock)
    write(text="{")
    for _ in range(3):
        clock.now += 1
        assert names(users) == ["ulla"]
    assert capsys.readouterr().out.count("users_unreadable") == 1
    write("per")
    clock.now += 1
    assert names(users) == ["per"]


def test_one_that_is_gone_is_told_of_once_and_read_when_it_is_back(write, clock, capsys):
    path = write("ulla")
    users = UserFile(path, clock)
    path.unlink()
    for _ in range(3):
        clock.now += 1
        assert names(users) == ["ulla"]
    assert capsys.readouterr().out.count("users_unreadable") == 1
    write("per")
    clock.now += 1
    assert names(users) == ["per"]


def test_at_the_start_it_must_be_right(write):
    with pytest.raises(UsersError):
        UserFile(write(text="[]"))
