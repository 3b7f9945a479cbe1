"""Write recipes.md, the table of all recipes' fields and their sources.

python docs/recipes.py
"""

import dataclasses
import pathlib
import sys

from keras_resnext.training import recipes

PATH = pathlib.Path(__file__).with_name("recipes.md")

HEAD = """\
<!-- python docs/recipes.py writes this page. -->

# Recipes and their sources

Every field of every recipe, the source of its value, and whether it was read
there: *no* means that it was inferred, or is from a source that could not be
opened. None of the runs on ImageNet was repeated here.

"""


def page() -> str:
    """Return the page."""
    lines = ["| source | what was read |", "| --- | --- |"]
    for name, text in recipes.REPOSITORIES.items():
        lines.append(f"| {name} | {text} |")
    for name, recipe in recipes.RECIPES.items():
        lines += ["", f"## {name}", "", f"{recipe.sources}.", ""]
        lines += ["| field | value | source | read |"]
        lines += ["| --- | --- | --- | --- |"]
        sources = recipes.SOURCES[name]
        for line in str(recipe).splitlines():
            field, value = line.split(maxsplit=1)
            if field in ("name", "sources"):
                continue
            text, read = "no effect here", ""
            if field in sources:
                text = sources[field].text
                read = "yes" if sources[field].read else "no"
            lines.append(f"| `{field}` | {value} | {text} | {read} |")
    return HEAD + "\n".join(lines) + "\n"


def main() -> int:
    """Run the script, and return its exit status."""
    PATH.write_text(page(), encoding="utf-8")
    fields = len(dataclasses.fields(recipes.Recipe)) - 2
    print(f"{PATH}: {len(recipes.RECIPES)} recipes of {fields} fields")
    return 0


if __name__ == "__main__":
    sys.exit(main())
