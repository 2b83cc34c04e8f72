"""Ask several questions about one clip; it is decoded and encoded once.

python examples/ask.py examples/clips/00000.mp4 "How many things are in the video?" "What do you hear?"
"""

import sys

import crab_core

path, *questions = sys.argv[1:]
seen = crab_core.load("mini").look(path)
for question in questions:
    result = seen.ask(question)
    print(question, "->", result.answer.text if result.answer else result.raw_text)
