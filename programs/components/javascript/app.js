// The component's program in JavaScript; `../rust/src/lib.rs` and `../python/app.py` are the same.

const words = new Map();
const rows = [];

export function warm() {
  for (let number = 0; number < 20_000; number++) {
    words.set(`word ${number}`, [number, (number * number) % 977]);
  }
  for (let number = 0; number < 5_000; number++) rows.push(number);
}

export function run(clone, call) {
  const row = words.get(`word ${(clone * 131 + call * 17) % 20_000}`);
  row.push(clone + call);
  rows[(clone * 7 + call) % rows.length] += clone;
  let total = 0n;
  for (let place = clone % 100; place < rows.length; place += 97) {
    total = BigInt.asUintN(61, total * 31n + BigInt(rows[place]));
  }
  return total + BigInt(row.reduce((sum, value) => sum + value, 0));
}
