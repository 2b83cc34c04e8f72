"""What is seen and what is heard, and when, drawn as one line a label.

python examples/events.py examples/clips/00000.mp4
"""

import sys

import crab_core

result = crab_core.load("mini").look(sys.argv[1], task="avvp").ask(task="avvp")
for event in sorted(result.events, key=lambda event: (event.track, event.start_s)):
    start, end, total = round(event.start_s), round(event.end_s), round(result.duration_s)
    line = "." * start + "#" * (end - start) + "." * (total - end)
    print(f"{event.track:6} {line} {event.label} {event.start_s:g} to {event.end_s:g} s")
