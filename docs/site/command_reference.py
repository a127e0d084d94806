"""The directive `command-reference`: every command of `depthcast` with its options."""

from collections.abc import Iterator

import click
from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from depthcast.cli.main import main

UNWRAPPED = "\b"
"""The line with which click begins a paragraph that is shown as it is."""


class CommandReference(SphinxDirective):
    """A section for each command."""

    def run(self) -> list[nodes.Node]:
        """Return the sections, in the order of `depthcast --help`."""
        return [_section(context) for context in commands(click.Context(main, info_name="depthcast"))]


def commands(context: click.Context) -> Iterator[click.Context]:
    """Give a context for a command and, if it is a group, for all that are below it."""
    yield context
    if isinstance(context.command, click.Group):
        for name in context.command.list_commands(context):
            command = context.command.get_command(context, name)
            if command is not None and not command.hidden:
                yield from commands(click.Context(command, info_name=name, parent=context))


def _section(context: click.Context) -> nodes.section:
    title = context.command_path
    made = nodes.section(ids=[nodes.make_id(title)], names=[title])
    made += nodes.title(text=title)
    usage = " ".join(context.command.collect_usage_pieces(context))
    made += nodes.literal_block(text=f"{title} {usage}", language="none")
    made += list(_paragraphs(context.command.help or ""))
    made += _options(context)
    return made


def _paragraphs(text: str) -> Iterator[nodes.Node]:
    for paragraph in text.strip().split("\n\n"):
        if paragraph.startswith(UNWRAPPED):
            yield nodes.literal_block(text=paragraph.removeprefix(UNWRAPPED).strip("\n"), language="none")
        else:
            yield nodes.paragraph(text=" ".join(paragraph.split()))


def _options(context: click.Context) -> nodes.definition_list:
    found = nodes.definition_list()
    for parameter in context.command.get_params(context):
        record = parameter.get_help_record(context)
        if record is None:
            continue
        shown, meaning = record
        item = nodes.definition_list_item()
        item += nodes.term("", "", nodes.literal(text=shown))
        item += nodes.definition("", nodes.paragraph(text=" ".join(meaning.split())))
        found += item
    return found
