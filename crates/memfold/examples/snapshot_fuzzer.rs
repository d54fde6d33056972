//! A fuzzer that begins each run from one warmed-up state.
//!
//! The program under test (here a small machine with memory of its own) is warmed up once and
//! frozen. Each input runs in a fork, which costs microseconds and what the input writes; nothing
//! is left of it for the next. The machine has a bug that only a certain state shows.

use memfold::{Error, Memory, Space, SpaceSize};

const CELLS: u64 = 1 << 16;

/// A machine with 64 Ki cells of 8 bytes, and a program of bytes.
struct Machine(Space);

/// What a program came to.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    Well(u64),
    /// A cell that does not exist was asked for.
    Crashed,
}

impl Machine {
    /// Fills all cells, which takes long.
    fn warmed(memory: &Memory) -> Result<Self, Error> {
        let machine = Self(memory.create(SpaceSize::fixed(CELLS * 8))?);
        (0..CELLS).try_for_each(|cell| machine.set(cell, cell.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40))?;
        Ok(machine)
    }

    fn get(&self, cell: u64) -> Result<u64, Error> {
        let mut bytes = [0; 8];
        self.0.read(cell * 8, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn set(&self, cell: u64, value: u64) -> Result<(), Error> {
        self.0.write(cell * 8, &value.to_le_bytes())
    }

    /// Each byte stores to a cell and follows what stands there.
    fn run(&self, program: &[u8]) -> Result<Ended, Error> {
        let mut at = 0;
        for &op in program {
            self.set(at, self.get(at)? ^ u64::from(op) << 3)?;
            at = self.get(at)? % (CELLS + 1);
            if at == CELLS {
                return Ok(Ended::Crashed);
            }
        }
        self.get(at).map(Ended::Well)
    }
}

fn main() -> Result<(), Error> {
    let memory = Memory::builder().budget_bytes(32 << 20).build()?;
    let template = Machine(Machine::warmed(&memory)?.0.freeze()?);
    let mut random = 7_u64;
    let mut crashes = Vec::new();
    for _ in 0..20_000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let input = &random.to_le_bytes()[2..];
        if Machine(template.0.fork()?).run(input)? == Ended::Crashed {
            crashes.push(input.to_vec());
        }
    }
    for input in &crashes {
        let again = Machine(template.0.fork()?).run(input)?;
        assert_eq!(again, Ended::Crashed, "a run leaves nothing for the next");
    }
    println!(
        "20,000 inputs, {} crashes, each again from the same state",
        crashes.len()
    );
    Ok(())
}

#[test]
fn it_runs() -> Result<(), Error> {
    main()
}
