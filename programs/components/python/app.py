"""The component's program in Python; `../rust/src/lib.rs` and `../javascript/app.js` are the same."""

import wit_world

MASK = (1 << 61) - 1
WORDS = {}
ROWS = []


class WitWorld(wit_world.WitWorld):
    def warm(self) -> None:
        for number in range(20_000):
            WORDS[f"word {number}"] = [number, number * number % 977]
        ROWS.extend(range(5_000))

    def run(self, clone: int, call: int) -> int:
        row = WORDS[f"word {(clone * 131 + call * 17) % 20_000}"]
        row.append(clone + call)
        ROWS[(clone * 7 + call) % len(ROWS)] += clone
        total = 0
        for value in ROWS[clone % 100 :: 97]:
            total = (total * 31 + value) & MASK
        return total + sum(row)
