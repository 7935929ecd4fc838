"""Is the documentation's site whole: is each link's end there, does nothing come from
elsewhere, is each command in the reference; and do the pages name commands and options
that there are?"""
import fnmatch
import html.parser
import re
import subprocess

import pytest

from commands import all_commands, help_of
from documents import GUIDES, blocks, sections
from share import KEYFOLD, ROOT


class Page(html.parser.HTMLParser):
    """What a page links to, and what of it can be linked to."""

    def __init__(self, text):
        super().__init__()
        self.links, self.ids, self.tags, self.headings = [], {''}, set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        for name, value in attributes:
            if name in ('href', 'src'):
                self.links.append(value)
            if name == 'id':
                assert value not in self.ids, f'{value} comes twice'
                self.ids.add(value)
        self.headings += [''] if tag in ('h1', 'h2', 'h3', 'h4') else []

    def handle_data(self, data):
        if self.headings:
            self.headings[-1] += data if self.lasttag in ('h1', 'h2', 'h3', 'h4') else ''


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp('site') / 'html'
    subprocess.run([ROOT / 'packaging/make-site', KEYFOLD, folder], check=True)
    return {path.name: Page(path.read_text()) for path in folder.glob('*.html')}, folder


def test_links_lead_somewhere_and_nothing_comes_from_elsewhere(site):
    pages, folder = site
    assert {f'{path.stem}.html' for path in GUIDES.glob('*.md')} - {'README.html'} < set(pages)
    for name, page in pages.items():
        assert not page.tags & {'script', 'iframe', 'img', 'style'}, name
        for link in page.links:
            target, _, fragment = link.partition('#')
            assert (folder / target).is_file(), f'{name} links to {link}'
            assert fragment in pages.get(target or name, page).ids, f'{name} links to {link}'
    assert 'url(' not in (folder / 'style.css').read_text()


def test_the_reference_has_each_command(site):
    headings = site[0]['reference.html'].headings
    for words in all_commands():
        assert any(' '.join(('keyfold', *words)) == heading.split('\n')[0].strip()
                   for heading in headings), words


def known(code):
    """What of an inline `keyfold ...` there is not."""
    words, found = code.split()[1:], ()
    while words and (*found, words[0]) in set(all_commands()):
        found = (*found, words.pop(0))
    if words and re.match('[a-z]', words[0]) and 'Subcommands:' in help_of(*found):
        return f'no command {words[0]}'
    helps = ''.join(help_of(*found[:length]) for length in range(len(found) + 1))
    return next((f'no option {word}' for word in words
                 if word.startswith('--') and word not in helps), None)


PAGES = sorted([*GUIDES.glob('*.md'), *ROOT.glob('*.md'), ROOT / 'packaging/README.md'])


@pytest.mark.parametrize('page', PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_named_in_a_text_are_there(page):
    text = page.read_text()
    for block in blocks(text):
        text = text.replace(block.text, '')
    # Labels of keys (`keyfold row v1`) look alike.
    for code in re.findall(r'`(keyfold [^`]*)(?<! v1)`', text):
        assert known(code.replace('\n', ' ')) is None, code


def test_the_journals_fields_are_those_of_the_code():
    code = ''.join(path.read_text() for path in (ROOT / 'fs/cli').glob('*.cc'))
    section, = (one for one in sections('operations.md') if one.heading == 'The journal')
    assert set(section.table()) == {f'`{name}`' for name in re.findall(r'\{"(KEYFOLD_[A-Z_]+)",', code)}


def test_the_guide_tells_of_each_page_of_the_console():
    code = (ROOT / 'fs/console/web/src/main.jsx').read_text()
    pages = re.findall(r"^  '([a-z-]+)': ", code.partition('const PAGES')[2].partition('};')[0], re.M)
    section, = (one for one in sections('console.md') if one.heading == 'What its pages show')
    # 'keys' is the list and one of them.
    assert len(section.table()) == len(pages) + 1


def test_each_file_of_tests_is_in_their_index():
    rows = [line.split('|')[1] for line in (ROOT / 'tests/README.md').read_text().split('\n')
            if line.startswith('|')]
    known = [name for row in rows for name in re.findall(r'test_[a-z_]+\*?', row)]
    for path in ROOT.glob('tests/*/test_*'):
        assert any(fnmatch.fnmatch(path.stem, name) for name in known), path


def test_what_is_not_there_is_noticed():
    assert known('keyfold mistake') == known('keyfold mistake kms') == 'no command mistake'
    assert known('keyfold kms mistake --key-id X') == 'no command mistake'
    assert known('keyfold audit verify --mistake') == 'no option --mistake'
    assert known('keyfold COMMAND --help') is known('keyfold kms encrypt --query X') is None
