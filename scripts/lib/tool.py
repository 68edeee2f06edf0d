"""What the tools named after Kafka's share: the connection that the options ask for, and errors in Kafka's words.

    with make_admin(given) as admin:                 # given: of options.Options.parse()
        check_error(admin.call(...)["topics"][0])    # raises CommandError with what the broker, or Kafka's client, says
"""
import sys

import wire
from admin import Admin
from options import load_properties

DEFAULT_BOOTSTRAP = "localhost:9092"
OK, FAILED = 0, 1

# What Kafka's client says where the broker sent only a code. Other codes are told by their name.
MESSAGES = {
    -1: "The server experienced an unexpected error when processing the request.",
    3: "This server does not host this topic-partition.",
    5: "There is no leader for this topic-partition as we are in the middle of a leadership election.",
    7: "The request timed out.",
    9: "The replica is not available for the requested topic-partition.",
    17: "The request attempted to perform an operation on an invalid topic.",
    29: "Topic authorization failed.",
    31: "Cluster authorization failed.",
    35: "The version of API is not supported.",
    36: "Topic with this name already exists.",
    37: "Number of partitions is below 1.",
    38: "Replication factor is below 1 or larger than the number of available brokers.",
    39: "Replica assignment is invalid.",
    40: "Configuration is invalid.",
    42: "This most likely occurs because of a request being malformed by the client library or the message was sent"
        " to an incompatible broker. See the broker logs for more details.",
    44: "Request parameters do not satisfy the configured policy.",
    56: "Disk error when trying to access log file on the disk.",
    57: "The user-specified log directory is not found in the broker config.",
    60: "A partition reassignment is in progress.",
    73: "Topic deletion is disabled.",
    85: "No partition reassignment is in progress.",
    89: "The throttling quota has been exceeded.",
    100: "This server does not host this topic ID.",
}


class CommandError(Exception):
    """The command cannot be done; its text is for the user."""


def take_seconds(properties, key, default_ms):
    value = properties.pop(key, str(default_ms))
    if not value.isdecimal() or int(value) == 0:
        raise CommandError(f"{key}={value} is no number of milliseconds above 0")
    return int(value) / 1000


def make_admin(given, client_id="adminclient-1"):
    properties = {}
    if "command-config" in given:
        try:
            properties = load_properties(given["command-config"])
        except OSError as problem:
            raise CommandError(f"{given['command-config']}: {problem.strerror}") from None
        except UnicodeDecodeError:
            raise CommandError(f"{given['command-config']}: not a text in UTF-8") from None
    if properties.pop("security.protocol", "PLAINTEXT").upper() != "PLAINTEXT":
        raise CommandError(f"{given['command-config']}: this tool speaks security.protocol=PLAINTEXT only")
    bootstrap = given.get("bootstrap-server", properties.pop("bootstrap.servers", DEFAULT_BOOTSTRAP))
    try:
        return Admin(bootstrap, client_id=properties.pop("client.id", client_id),
                     request_timeout=take_seconds(properties, "request.timeout.ms", 30000),
                     api_timeout=take_seconds(properties, "default.api.timeout.ms", 60000))
    except ValueError as problem:
        raise CommandError(str(problem)) from None
    finally:
        for key in properties:
            print(f"{given['command-config']}: {key} is not used by this tool", file=sys.stderr)


def error_text(result):
    """What went wrong with this entry of an answer, in Kafka's words; None when nothing did."""
    code = result["error_code"]
    if code == 0:
        return None
    return result.get("error_message") or MESSAGES.get(code) or f"The broker answered {wire.error_name(code)}."


def check_error(result):
    """Raise what an answer's entry says went wrong."""
    text = error_text(result)
    if text is not None:
        raise CommandError(text)


def not_reached(problem, given):
    """What to say about a ConnectError."""
    bootstrap = given.get("bootstrap-server", DEFAULT_BOOTSTRAP)
    return (f"cannot connect to a broker: {problem}. Is the broker running and is {bootstrap} its address?"
            " Start it, or name another with --bootstrap-server host:port.")
