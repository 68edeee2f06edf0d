"""Command lines as Kafka's tools take them: long options with --name value or --name=value, never shortened.

    options = Options("Says what the tool does.", [
        Option("topic", "The topic.", value="topic"),
        Option("config", "One of several.", value="name=value", many=True),
        Option("partitions", "How many.", value="# of partitions", kind=int),
        Option("list", "List all topics."),
    ])
    given = options.parse(sys.argv[1:])     # {"topic": "t", "config": ["a=b"], "list": True}; only what was given

Every mistake raises UsageError, whose text is the one that Kafka prints. Words that are no option are under
the key WORDS. Like Kafka's tools, print help with usage() to standard error and exit with 1.
"""
import dataclasses
import textwrap

WORDS = ""
LEFT_WIDTH, RIGHT_WIDTH = 40, 60


class UsageError(Exception):
    """The command line is wrong."""

    def __init__(self, message, with_help=False):
        super().__init__(message)
        self.with_help = with_help  # Kafka shows the help for some mistakes only


@dataclasses.dataclass
class Option:
    name: str
    text: str
    value: str = None  # what to call the value in the help; without one the option takes none
    kind: type = str
    many: bool = False
    value_optional: bool = False


class Options:
    def __init__(self, title, options):
        self.title = title
        self.by_name = {option.name: option for option in options}

    def parse(self, words):
        given = {WORDS: []}
        rest = list(words)
        while rest:
            word = rest.pop(0)
            if word == "--":
                given[WORDS] += rest
                break
            if not word.startswith("-") or word == "-":
                given[WORDS].append(word)
                continue
            name, equals, value = word.lstrip("-").partition("=")
            option = self.by_name.get(name)
            if option is None or not word.startswith("--"):
                raise UsageError(f"{name} is not a recognized option")
            self._take(option, value if equals else None, rest, given)
        return given

    def _take(self, option, value, rest, given):
        if option.value is None:
            if value is not None:
                raise UsageError(f"Option {option.name} takes no value")
            given[option.name] = True
            return
        if value is None and rest and not rest[0].startswith("--"):
            value = rest.pop(0)
        if value is None and not option.value_optional:
            raise UsageError(f"Option {option.name} requires an argument")
        if value is not None:
            try:
                value = option.kind(value)
            except ValueError:
                raise UsageError(f"Cannot parse argument '{value}' of option {option.name}") from None
        if option.many:
            given.setdefault(option.name, []).append(value)
        elif option.name in given:
            raise UsageError(f"Found multiple arguments for option {option.name}, but you asked for only one")
        else:
            given[option.name] = value

    def usage(self):
        """The help, in Kafka's two columns."""
        out = [self.title, row("Option", "Description"), row("------", "-----------")]
        for option in sorted(self.by_name.values(), key=lambda option: option.name):
            value = option.value if option.kind is not int else f"Integer: {option.value}"
            left = f"--{option.name}" + ("" if option.value is None else f" <{value}>")
            lefts = textwrap.wrap(left, LEFT_WIDTH - 1, subsequent_indent="  ")
            rights = textwrap.wrap(option.text, RIGHT_WIDTH)
            lefts += [""] * (len(rights) - len(lefts))
            rights += [""] * (len(lefts) - len(rights))
            out += [row(left, right) for left, right in zip(lefts, rights)]
        return "\n".join(out)


def row(left, right):
    return f"{left:<{LEFT_WIDTH}} {right}".rstrip()


def load_properties(path):
    """A file of key=value lines, as --command-config names it. Java's escapes are not undone."""
    properties = {}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            line = line.strip()
            if not line or line[0] in "#!":
                continue
            key, _, value = line.replace(":", "=", 1).partition("=") if "=" not in line else line.partition("=")
            properties[key.strip()] = value.strip()
    return properties
