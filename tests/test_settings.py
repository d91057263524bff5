"""Settings: every wrong one is named at once, with its mend, and no secret is ever shown."""

import dataclasses
from ipaddress import ip_network

import pytest

from processor.domain.status import Channel, Status
from processor.domain.traits import STUCK_AFTER
from processor.settings import FIELDS, FOREIGN_NAMES, PREFIX, Settings, SettingsError, load, markdown_table, shared
from processor.users import Role
from tests.cases import every_case

SASL = {"DELIVERY_SECURITY_PROTOCOL": "SASL_SSL", "DELIVERY_SASL_USERNAME": "worker"}


def problems(environment: dict[str, str]) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as wrong:
        load(environment)
    assert str(wrong.value) == "\n".join(wrong.value.problems)
    return wrong.value.problems


@pytest.fixture
def pem(tmp_path) -> str:
    path = tmp_path / "some.pem"
    path.write_text("a certificate", encoding="utf-8")
    return str(path)


class TestDefaults:
    def test_nothing_need_be_set(self):
        assert load({}) == Settings()

    def test_a_variable_set_to_nothing_is_not_set(self):
        assert load({PREFIX + name.upper(): "" for name in FIELDS}) == Settings()

    def test_other_programs_have_their_variables(self):
        assert load({"PATH": "/bin", "KAFKA_BROKERS": "x", "delivery_brokers": "x"}) == Settings()

    def test_names_of_the_makefile_and_the_tests_are_left_alone(self):
        assert load(dict.fromkeys(FOREIGN_NAMES, "1")) == Settings()

    def test_every_setting_has_one_field_and_a_meaning(self):
        assert list(FIELDS) == [field.name for field in dataclasses.fields(Settings)]
        assert all(field.meaning.endswith(".") for field in FIELDS.values())

    def test_the_defaults_of_text_pass_their_own_checks(self):
        for name, field in FIELDS.items():
            default = getattr(Settings(), name)
            if isinstance(default, str) and default:
                assert field.parse(default) == default

    def test_reads_only_from_this_machine_unless_told(self):
        assert Settings().http_host == "127.0.0.1"


READER, _, OPERATOR = Role
EMAIL_PENDING, SMS_PREPARED = (Channel.EMAIL, Status.PENDING), (Channel.SMS, Status.PREPARED)
WAITING = [f"{channel.value}.{status.value}" for channel, status in STUCK_AFTER]
GOOD = [
    ("INDEX", "none", ()),
    ("INDEX", " recipient , delivery", ("delivery", "recipient")),
    ("BROKERS", "a:9092", "a:9092"),
    ("BROKERS", " a:9092 , [::1]:65535 ", "a:9092,[::1]:65535"),
    ("APP_ID", "mine", "mine"),
    ("TOPIC_PREFIX", "se.Delivery_2-", "se.Delivery_2-"),
    ("PARTITIONS", "1", 1),
    ("PARTITIONS", "10000", 10_000),
    ("REPLICATION_FACTOR", "-1", -1),
    ("SMPP_ID_NOTATIONS", "north=decimal/hex, a=b = hex/decimal", {"north": "decimal/hex", "a=b": "hex/decimal"}),
    ("SMPP_ID_NOTATIONS", "hex/decimal", {"": "hex/decimal"}),
    ("PROVIDER_BY_TOPIC", "delivery.mta.v1=kumomta", {"delivery.mta.v1": "kumomta"}),
    ("PROVIDER_BY_TOPIC", " a = b , c=d ", {"a": "b", "c": "d"}),
    ("MESSAGE_ID_NAMES", "mid", ("mid",)),
    ("DELIVERY_ID_NAMES", "campaign, X-Campaign,", ("campaign", "X-Campaign")),
    ("HTTP_HOST", "0.0.0.0", "0.0.0.0"),
    ("HTTP_PORT", "0", 0),
    ("ADVERTISED_URL", "http://10.0.0.5:8080/", "http://10.0.0.5:8080"),
    ("ADVERTISED_URL", "https://[fd00::5]:8443", "https://[fd00::5]:8443"),
    ("ADVERTISED_URL", "http://worker-0.workers", "http://worker-0.workers"),
    (
        "HTTP_ALLOWED_HOSTS",
        "status.example.com, .svc.cluster.local,worker_1",
        ("status.example.com", ".svc.cluster.local", "worker_1"),
    ),
    ("HTTP_ALLOWED_HOSTS", "*", ("*",)),
    (
        "TRUSTED_PROXIES",
        "10.0.0.0/8, 127.0.0.1,::1",
        (ip_network("10.0.0.0/8"), ip_network("127.0.0.1/32"), ip_network("::1/128")),
    ),
    ("USER_PROXIES", "10.0.0.7", (ip_network("10.0.0.7/32"),)),
    ("USER_ROLES", "ops=operator, cn=a = reader,*=reader", {"ops": OPERATOR, "cn=a": READER, "*": READER}),
    ("SIGN_OUT_URL", "/oauth2/sign_out?rd=/", "/oauth2/sign_out?rd=/"),
    ("SIGN_OUT_URL", "https://id.example.com/logout", "https://id.example.com/logout"),
    ("GATEWAYS", "http://gateway:8082/, https://[fd00::5]", ("http://gateway:8082", "https://[fd00::5]")),
    ("READ_TOKEN", "~" * 16, "~" * 16),
    ("WRITE_TOKEN", "a" * 500, "a" * 500),
    ("TLS_CHECK_HOSTNAME", "No", False),
    ("TLS_CHECK_HOSTNAME", "1", True),
    ("CHUNK_RECORDS", "100000", 100_000),
    ("CONCURRENCY_LIMIT", "1", 1),
    ("SUCCESS_FROM", "sent", "sent"),
    ("MAX_RECORD_BYTES", "1000", 1_000),
    ("SESSION_TIMEOUT", "6", 6.0),
    ("COMMIT_TIMEOUT", "1.5", 1.5),
    ("STALL_TIMEOUT", "3600", 3_600.0),
    ("STUCK_AFTER", "sms.sent=72h", dict(STUCK_AFTER)),
    ("STUCK_AFTER", "email.pending=90m, sms.prepared = 45", STUCK_AFTER | {EMAIL_PENDING: 5_400.0, SMS_PREPARED: 45.0}),
    ("STUCK_AFTER", ",".join(f"{name}=off" for name in WAITING), {}),
    ("UNLINKED", "hold", "hold"),
    ("LINK_WAIT", "12h", 43_200.0),
    ("LINK_WAIT", "0", 0.0),
    ("LOG_LEVEL", "DEBUG", "DEBUG"),
    ("LOG_FORMAT", "console", "console"),
    ("COMMIT", "3f2c1de", "3f2c1de"),
]
#: What must be set with it.
NEEDS = {
    "USER_PROXIES": {"DELIVERY_USER_ROLES": "*=reader"},
    "USER_ROLES": {"DELIVERY_USER_PROXIES": "10.0.0.7"},
}
WHOLE = "must be a whole number from"
BAD = [
    *[("BROKERS", value, "must be host:port") for value in ("a", "a:", ":1", "a:0", "a:65536", "a:x", "a:1,", "a:²")],
    *[("TOPIC_PREFIX", value, "letters, digits") for value in ("my topics.", "å.", "a/b", "a" * 201, "a\n")],
    *[("SHADOW_OF", value, "letters, digits") for value in ("my topics.", "a/b", "a" * 201)],
    *[("PARTITIONS", value, f"{WHOLE} 1 to 10000") for value in ("0", "10001", "8.0", "eight", " ")],
    ("REPLICATION_FACTOR", "-2", f"{WHOLE} -1 to 100"),
    *[("PROVIDER_BY_TOPIC", value, "must be like") for value in ("a", "a=", "=b", "a=b,", ",")],
    ("MESSAGE_ID_NAMES", ",", "names separated by commas"),
    ("DELIVERY_ID_NAMES", " , ", "names separated by commas"),
    ("HTTP_PORT", "65536", f"{WHOLE} 0 to 65535"),
    *[
        ("ADVERTISED_URL", value, "must be like 'http://10.0.0.5:8080'")
        for value in ("10.0.0.5:8080", "ftp://a", "http://", "http://a b", "http://a/path", "http://a?b", "http://u@a")
    ],
    *[("GATEWAYS", value, "must be like") for value in ("gateway:8082", "http://a,b", "http://a/report", ",")],
    *[
        ("HTTP_ALLOWED_HOSTS", value, "must be names")
        for value in ("a:80", "http://a", "*.a", "a..b", "å", "a b", ".", ",", "a.", "[::1]")
    ],
    *[("TRUSTED_PROXIES", value, "must be") for value in ("proxy", "10.0.0.1/8", "10.0.0", "*", ",", "::1/129")],
    ("UNLINKED", "drop", "must be one of show, hold"),
    ("LINK_WAIT", "a week", "must be a whole number with s, m, h or d"),
    ("MESSAGE_ID_COVERS", "campaign", "must be one of recipient, send"),
    ("ATTEMPT_NAMES", ",", "must be names separated by commas"),
    ("SMPP_RECEIPTS_BY_TEXT", "maybe", "must be true or false"),
    *[("SMPP_ID_NOTATIONS", value, "must be like") for value in ("north", "north=", "north=hex", "hex/hex", ",")],
    ("SMPP_ID_NOTATIONS", "a=hex/decimal,a=decimal/hex", "names account 'a' twice"),
    ("SECURITY_PROTOCOL", "ssl", "must be one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"),
    ("SASL_MECHANISM", "GSSAPI", "must be one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512"),
    *[(f"TLS_{name}_FILE", "no/such.pem", "must be a file") for name in ("CA", "CERTIFICATE", "KEY")],
    ("TLS_CA_FILE", ".", "must be a file"),
    ("USERS_FILE", "no/such.json", "must be a file"),
    *[("USER_PROXIES", value, "must be addresses") for value in ("proxy", "10.0.0.1/8", ",")],
    *[("USER_ROLES", value, "must be like") for value in ("ops", "ops=", "=operator", "ops=root", "ops=operator,")],
    *[
        ("SIGN_OUT_URL", value, "must be a path")
        for value in (
            "oauth2",
            "javascript:alert(1)",
            "//evil.example.com",
            "/\\evil.example.com",
            "/a b",
            '/"',
            "https://",
        )
    ],
    ("USER_ROLES", "ops=operator,ops=reader", "names group 'ops' twice"),
    ("USERS_FILE", __file__, "it is no file of users: it is not JSON"),
    ("TLS_CHECK_HOSTNAME", "maybe", "must be true or false"),
    ("STORE", "disk", "must be one of memory, rocksdb"),
    ("INDEX", "label", "must be some of delivery, recipient, provider_message_id, separated by commas, or 'none'"),
    ("INDEX", "none,delivery", "must be some of"),
    ("STORE_CACHE_MIB", "7", f"{WHOLE} 8 to 1048576"),
    ("CHUNK_RECORDS", "0", f"{WHOLE} 1 to 100000"),
    ("SUCCESS_FROM", "delivered", "must be one of taken, sent"),
    ("CONCURRENCY_LIMIT", "0", f"{WHOLE} 1 to 1000000"),
    ("MAX_RECORD_BYTES", "3500001", f"{WHOLE} 1000 to 3500000"),
    *[("SESSION_TIMEOUT", value, "must be seconds, from 6 to 300") for value in ("5.9", "301", "nan", "inf", "10s")],
    ("COMMIT_TIMEOUT", "0", "must be seconds, from 1 to 600"),
    ("STALL_TIMEOUT", "3601", "must be seconds, from 1 to 3600"),
    *[
        ("STUCK_AFTER", value, "is none of email.pending, email.taken_into_account, sms.pending")
        for value in ("email.sent=1h", "email.prepared=1h", "pending=1h", "email.pending=1h,", "letter.pending=1h", ",")
    ],
    *[
        ("STUCK_AFTER", f"email.pending{value}", "email.pending must be followed by a duration like '=90m'")
        for value in ("", "=", "=soon", "=-1h", "=0", "=1.5h", "=1h=2h")
    ],
    ("STUCK_AFTER", "email.pending=1h,email.pending=2h", "email.pending is there twice"),
    *[("RETENTION", value, "must be a whole number with s, m, h or d") for value in ("30 days", "-1d", "1.5d", "d")],
    ("TRACE", "on", "must be true or false"),
    ("LOG_LEVEL", "debug", "must be one of DEBUG, INFO, WARNING, ERROR"),
    ("COMMIT", "a b", "must have 1 to 64 letters"),
    ("LOG_FORMAT", "xml", "must be one of auto, json, console"),
]


class TestValues:
    def test_of_several_thresholds_every_wrong_one_is_named(self):
        (problem,) = problems({"DELIVERY_STUCK_AFTER": "email.sent=1h,sms.sent=ever,sms.pending=2h,sms.pending=off"})
        assert problem.count(";") == 2
        for part in ("'email.sent' is none of", "sms.sent must be followed", "sms.pending is there twice"):
            assert part in problem

    @pytest.mark.parametrize(("variable", "text", "value"), GOOD)
    def test_good(self, variable, text, value):
        with_it = NEEDS.get(variable, {})
        assert getattr(load({PREFIX + variable: text, **with_it}), variable.lower()) == value

    def test_bad_with_name_value_and_mend(self):
        with every_case() as case:
            for variable, text, mend in BAD:
                with case(f"{variable}={text}"):
                    (problem,) = problems({PREFIX + variable: text})
                    assert problem.startswith(f"{PREFIX}{variable} is {text!r}, but ")
                    assert mend in problem

    def test_every_setting_but_free_text_has_a_bad_value(self):
        free = {"app_id", "http_host", "store_path", "sasl_username", "sasl_password", "tls_key_password"}
        # What is wrong with one of these is not shown: see TestTokens.
        free |= {"read_token", "write_token", "internal_token", "addresses_key"}
        assert {variable.lower() for variable, _, _ in BAD} == set(FIELDS) - free

    def test_of_a_file_of_users_every_fault_is_named(self, tmp_path):
        path = tmp_path / "users.json"
        path.write_text('{"users": [{"name": "a b", "role": "boss", "token_sha256": "hunter2"}]}', encoding="utf-8")
        (problem,) = problems({"DELIVERY_USERS_FILE": str(path)})
        assert problem.count("users[0]: ") == 3
        assert "hunter2" not in problem
        path.write_text('{"users": []}', encoding="utf-8")
        assert load({"DELIVERY_USERS_FILE": str(path)}).users_file == path

    def test_all_of_tls(self, pem):
        settings = load(
            {
                "DELIVERY_SECURITY_PROTOCOL": "SSL",
                "DELIVERY_TLS_CA_FILE": pem,
                "DELIVERY_TLS_CERTIFICATE_FILE": pem,
                "DELIVERY_TLS_KEY_FILE": pem,
                "DELIVERY_TLS_KEY_PASSWORD": "hush",
            }
        )
        assert (str(settings.tls_ca_file), settings.tls_key_password) == (pem, "hush")

    @pytest.mark.parametrize(
        ("protocol", "tls", "sasl"),
        [("PLAINTEXT", False, False), ("SSL", True, False), ("SASL_PLAINTEXT", False, True), ("SASL_SSL", True, True)],
    )
    def test_what_a_security_protocol_uses(self, protocol, tls, sasl):
        settings = Settings(security_protocol=protocol)
        assert (settings.uses_tls, settings.uses_sasl) == (tls, sasl)


class TestProblems:
    def test_all_at_once(self):
        found = problems(
            {
                "DELIVERY_BROKERS": "here",
                "DELIVERY_PARTITIONS": "many",
                "DELIVERY_LOG_LEVELS": "INFO",
                "DELIVERY_TLS_KEY_PASSWORD_FILE": "no/such/file",
                "DELIVERY_SASL_USERNAME": "worker",
                "DELIVERY_COMMIT_TIMEOUT": "200",
            }
        )
        about = ("BROKERS", "PARTITIONS", "LOG_LEVELS", "TLS_KEY_PASSWORD_FILE", "SASL_USERNAME", "STALL_TIMEOUT")
        assert len(found) == len(about)
        assert all(any(problem.startswith(PREFIX + name) for problem in found) for name in about)

    @pytest.mark.parametrize(
        ("variable", "meant"),
        [
            ("DELIVERY_BROKER", "DELIVERY_BROKERS"),
            ("DELIVERY_TOPICS_PREFIX", "DELIVERY_TOPIC_PREFIX"),
            ("DELIVERY_TLS_CA", "DELIVERY_TLS_CA_FILE"),
            ("DELIVERY_SASL_PASSWORT", "DELIVERY_SASL_PASSWORD"),
            ("DELIVERY_BROKERS_FILE", "DELIVERY_BROKERS"),
        ],
    )
    def test_a_near_miss_is_told_what_was_meant(self, variable, meant):
        assert problems({variable: "x"}) == (f"{variable} is no setting; did you mean {meant}?",)

    def test_a_name_like_no_other_is_told_where_the_names_are(self):
        assert problems({"DELIVERY_XYZZY": "x"}) == ("DELIVERY_XYZZY is no setting; docs/settings.md has all of them",)


class TestConflicts:
    @pytest.mark.parametrize("given", [{}, {"USERNAME": "worker"}, {"PASSWORD": "hush"}])
    def test_a_login_needs_name_and_password(self, given):
        environment = {f"DELIVERY_SASL_{name}": value for name, value in given.items()}
        (problem,) = problems({"DELIVERY_SECURITY_PROTOCOL": "SASL_PLAINTEXT", **environment})
        assert "DELIVERY_SASL_USERNAME and DELIVERY_SASL_PASSWORD" in problem

    def test_a_name_needs_a_protocol_that_logs_in(self):
        (problem,) = problems({"DELIVERY_SASL_USERNAME": "worker", "DELIVERY_SASL_PASSWORD": "hush"})
        assert "must be SASL_SSL or SASL_PLAINTEXT" in problem

    @pytest.mark.parametrize("variable", ["DELIVERY_TLS_CA_FILE", "DELIVERY_TLS_CERTIFICATE_FILE"])
    def test_certificates_need_a_protocol_that_encrypts(self, variable, pem):
        (problem,) = problems({variable: pem})
        assert "DELIVERY_SECURITY_PROTOCOL must be SSL or SASL_SSL" in problem

    def test_a_key_needs_a_certificate(self, pem):
        (problem,) = problems({"DELIVERY_SECURITY_PROTOCOL": "SSL", "DELIVERY_TLS_KEY_FILE": pem})
        assert problem == "DELIVERY_TLS_KEY_FILE is set, so DELIVERY_TLS_CERTIFICATE_FILE must be set"

    @pytest.mark.parametrize("given", [{"USER_PROXIES": "10.0.0.7"}, {"USER_ROLES": "ops=operator"}])
    def test_proxies_that_sign_in_need_roles_to_give(self, given):
        (problem,) = problems({PREFIX + name: value for name, value in given.items()})
        assert problem.startswith("DELIVERY_USER_PROXIES and DELIVERY_USER_ROLES must both be set")

    @pytest.mark.parametrize("stall", ["30", "29"])
    def test_a_worker_must_outlast_its_slowest_transaction(self, stall):
        (problem,) = problems({"DELIVERY_COMMIT_TIMEOUT": "30", "DELIVERY_STALL_TIMEOUT": stall})
        assert problem.startswith(f"DELIVERY_STALL_TIMEOUT ({stall}) must be above DELIVERY_COMMIT_TIMEOUT (30)")

    @pytest.mark.parametrize(
        ("setting", "value", "mend"),
        [
            ("TOPIC_PREFIX", "delivery.", "set DELIVERY_TOPIC_PREFIX to a prefix of the shadow's own"),
            ("APP_ID", "delivery-status", "set it to a group of the shadow's own, like 'delivery-status-shadow'"),
        ],
    )
    def test_a_shadow_cannot_pass_for_the_live_one(self, setting, value, mend):
        shadow = {
            "DELIVERY_SHADOW_OF": "delivery.",
            "DELIVERY_TOPIC_PREFIX": "shadow.",
            "DELIVERY_APP_ID": "delivery-status-shadow",
        }
        load(shadow)
        (problem,) = problems({**shadow, f"DELIVERY_{setting}": value})
        assert mend in problem

    def test_what_a_shadow_needs_is_told_at_once(self):
        assert len(problems({"DELIVERY_SHADOW_OF": "delivery."})) == 2

    @pytest.mark.parametrize(
        "environment",
        [
            {"DELIVERY_STALL_TIMEOUT": "long", "DELIVERY_COMMIT_TIMEOUT": "200"},
            {"DELIVERY_SECURITY_PROTOCOL": "sasl_ssl", "DELIVERY_SASL_USERNAME": "worker"},
            {"DELIVERY_TLS_CERTIFICATE_FILE": "no/such.pem", "DELIVERY_SECURITY_PROTOCOL": "SSL"},
            {**SASL, "DELIVERY_SASL_PASSWORD_FILE": "no/such/file"},
        ],
    )
    def test_a_wrong_value_does_not_conflict_as_well(self, environment, pem):
        key = {"DELIVERY_TLS_KEY_FILE": pem} if "DELIVERY_TLS_CERTIFICATE_FILE" in environment else {}
        assert len(problems({**environment, **key})) == 1


class TestSecrets:
    @pytest.mark.parametrize("content", ["hush", "hush\n", "hush\r\n"])
    def test_may_be_in_a_file(self, tmp_path, content):
        (tmp_path / "secret").write_bytes(content.encode())
        settings = load({**SASL, "DELIVERY_SASL_PASSWORD_FILE": str(tmp_path / "secret")})
        assert settings.sasl_password == "hush"

    def test_blanks_belong_to_a_secret(self, tmp_path):
        (tmp_path / "secret").write_text(" hu sh \n", encoding="utf-8")
        settings = load({**SASL, "DELIVERY_SASL_PASSWORD_FILE": str(tmp_path / "secret")})
        assert settings.sasl_password == " hu sh "

    @pytest.mark.parametrize(
        ("content", "mend"),
        [(None, "cannot be read"), (b"", "is empty"), (b"\n", "is empty"), (b"\xff\xfe", "is not text in UTF-8")],
    )
    def test_a_file_that_holds_none_is_a_problem(self, tmp_path, content, mend):
        if content is not None:
            (tmp_path / "secret").write_bytes(content)
        (problem,) = problems({**SASL, "DELIVERY_SASL_PASSWORD_FILE": str(tmp_path / "secret")})
        assert problem.startswith("DELIVERY_SASL_PASSWORD_FILE names a file that ")
        assert mend in problem

    def test_may_not_be_given_twice(self, tmp_path):
        (tmp_path / "secret").write_text("hush", encoding="utf-8")
        environment = {"DELIVERY_SASL_PASSWORD": "hush", "DELIVERY_SASL_PASSWORD_FILE": str(tmp_path / "secret")}
        (problem,) = problems({**SASL, **environment})
        assert problem == "DELIVERY_SASL_PASSWORD and DELIVERY_SASL_PASSWORD_FILE are both set, but only one may be"

    def test_only_secrets_may_be_in_a_file(self):
        (problem,) = problems({"DELIVERY_APP_ID_FILE": "no/such/file"})
        assert problem.startswith("DELIVERY_APP_ID_FILE is no setting")

    def test_these_are_secrets(self):
        passwords, tokens = {"sasl_password", "tls_key_password"}, {"read_token", "write_token", "internal_token"}
        assert {name for name, field in FIELDS.items() if field.is_secret} == {*passwords, *tokens, "addresses_key"}

    def test_workers_agree_on_one_by_its_digest(self):
        terms = [shared(Settings(addresses_key=key))["addresses_key"] for key in ("", "x" * 16, "y" * 16)]
        assert terms[0] == ""
        assert len(set(terms)) == len(terms)
        assert not any("xxx" in term for term in terms)

    @pytest.mark.parametrize("variable", ["SASL_PASSWORD", "SASL_PASSWORD_FILE", "TLS_KEY_PASSWORD_FILE"])
    def test_no_problem_shows_one_not_even_where_the_variables_were_confused(self, variable):
        found = problems({"DELIVERY_BROKERS": "here", "DELIVERY_SASL_USERNAME": "u", PREFIX + variable: "hunter2"})
        assert not any("hunter2" in problem for problem in found)

    def test_settings_in_a_log_do_not_show_them(self):
        shown = repr(Settings(sasl_password="hunter2", tls_key_password="hunter3"))
        assert "hunter" not in shown


class TestTokens:
    @pytest.mark.parametrize("variable", ["READ_TOKEN", "WRITE_TOKEN", "INTERNAL_TOKEN", "ADDRESSES_KEY"])
    @pytest.mark.parametrize("token", ["hunter2", "hunter2 " * 4, "hunter2å" * 4, "hunter2" * 100])
    def test_one_that_is_short_or_does_not_fit_a_header_is_refused_and_not_shown(self, variable, token):
        (problem,) = problems({PREFIX + variable: token})
        assert problem == f"{PREFIX}{variable} must be 16 to 500 characters of ASCII without spaces"

    @pytest.mark.parametrize("other", ["WRITE_TOKEN", "INTERNAL_TOKEN"])
    def test_who_may_read_may_not_write_by_the_same_token(self, other):
        (problem,) = problems({"DELIVERY_READ_TOKEN": "x" * 16, PREFIX + other: "x" * 16})
        assert problem.startswith("DELIVERY_READ_TOKEN must differ from ")

    def test_the_write_token_may_be_that_among_workers(self):
        assert load({"DELIVERY_WRITE_TOKEN": "x" * 16, "DELIVERY_INTERNAL_TOKEN": "x" * 16}).read_token == ""


class TestTable:
    def test_has_a_line_for_every_setting(self):
        lines = markdown_table().splitlines()
        assert [line.split("`")[1] for line in lines[2:]] == [PREFIX + name.upper() for name in FIELDS]
        assert all(line.count("|") == 4 for line in lines)

    @pytest.mark.parametrize(
        "line",
        [
            (
                "| `DELIVERY_STUCK_AFTER` | `email.pending=1h,email.taken_into_account=84h,sms.pending=1h,"
                "sms.prepared=1h,sms.sent_to_provider=72h,sms.taken_into_account=84h,sms.sent=72h` |"
            ),
            "| `DELIVERY_BROKERS` | `localhost:9092` |",
            "| `DELIVERY_SASL_PASSWORD` |  |",
            "| `DELIVERY_TLS_CHECK_HOSTNAME` | `true` |",
            "| `DELIVERY_SESSION_TIMEOUT` | `10` |",
            "| `DELIVERY_MESSAGE_ID_NAMES` | `message_id` |",
        ],
    )
    def test_shows_defaults_as_one_would_set_them(self, line):
        assert line in markdown_table()
