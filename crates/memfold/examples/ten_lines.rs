//! The shortest program: one image, warmed up once, five hundred copies of it, one budget.

use memfold::{Error, Memory, SpaceSize};

fn main() -> Result<(), Error> {
    let memory = Memory::builder().budget_bytes(64 << 20).build()?;
    let parent = memory.create(SpaceSize::fixed(16 << 20))?;
    parent.write(0, b"warmed up")?;
    let template = parent.freeze()?;
    let copies: Vec<_> = (0..500).map(|_| template.fork()).collect::<Result<_, _>>()?;
    copies[7].write(0, b"CHANGED")?;
    let mut seen = [0; 9];
    copies[8].read(0, &mut seen)?;
    assert_eq!(&seen, b"warmed up");
    println!(
        "500 copies of 16 MiB hold {} KiB",
        memory.stats().usage.total >> 10
    );
    Ok(())
}

#[test]
fn it_runs() -> Result<(), Error> {
    main()
}
