//! The manager's own tables: they go when what they were for is gone.

use memfold::{Memory, PAGE_SIZE, Space, SpaceSize};

const MIB: u64 = 1 << 20;
const CLONES: usize = 20_000;

fn touch(space: &Space, page: u64, value: u8) {
    let at = (page * PAGE_SIZE as u64) as usize;
    assert!((at as u64) < space.len());
    // SAFETY: inside the space, which lives; nobody else uses it at the same time.
    unsafe { space.as_ptr().as_ptr().add(at).write_volatile(value) }
}

fn byte(space: &Space, page: u64) -> u8 {
    let at = (page * PAGE_SIZE as u64) as usize;
    assert!((at as u64) < space.len());
    // SAFETY: as above.
    unsafe { space.as_ptr().as_ptr().add(at).read_volatile() }
}

fn memory() -> Memory {
    Memory::builder()
        .budget_bytes(256 * MIB)
        .max_spaces(CLONES as u32 + 8)
        .background(false)
        .build()
        .expect("userfaultfd works here")
}

/// Goal: after clones came and went their tables do not fill the budget, and those that stayed are
/// whole. Method: 20,000 clones of a template at a time, one page of each written, twice; one in
/// 5,000 stays.
#[test]
fn tables_of_clones_go_with_them() {
    let m = memory();
    let template = m.create(SpaceSize::fixed(MIB)).unwrap();
    (0..256).for_each(|page| touch(&template, page, page as u8));
    let template = template.freeze().unwrap();
    let start = m.stats().usage.tables;
    let mut stay: Vec<(u8, Space)> = Vec::new();
    for round in 0..2_u8 {
        let clones: Vec<Space> = (0..CLONES - stay.len())
            .map(|n| {
                let clone = template.fork().unwrap();
                touch(&clone, n as u64 % 256, 7 + round);
                clone
            })
            .collect();
        let most = m.stats().usage.tables;
        assert!(most > start + 16 * MIB, "{start} bytes of tables grew to {most}");
        let kept = clones.into_iter().enumerate().filter(|(n, _)| n % 5000 == 4999);
        stay.extend(kept.map(|(_, clone)| (7 + round, clone)));
        let now = m.stats().usage.tables;
        assert!(
            now < start + MIB,
            "{start} bytes of tables grew to {most}; now the clones are gone there are {now}"
        );
        m.check().expect("sound");
    }
    for (value, clone) in &stay {
        let written = (4999_u64..).step_by(5000).take(4).map(|n| n % 256);
        assert!(written.into_iter().any(|page| byte(clone, page) == *value));
        assert_eq!(byte(clone, 100), 100);
    }
}

/// Goal: tables go while others work, and nobody's page with them. Method: two threads that make,
/// use and drop clones in tides, each checking what its clones hold.
#[test]
fn tides_on_two_threads() {
    let m = memory();
    let template = m.create(SpaceSize::fixed(MIB)).unwrap();
    (0..256).for_each(|page| touch(&template, page, page as u8));
    let template = template.freeze().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..2_u8 {
            let template = &template;
            scope.spawn(move || {
                for tide in 0..6 {
                    let value = 100 + thread * 10 + tide;
                    let clones: Vec<Space> = (0..1500)
                        .map(|n| {
                            let clone = template.fork().unwrap();
                            touch(&clone, n % 256, value);
                            clone
                        })
                        .collect();
                    for (n, clone) in (0..).zip(&clones) {
                        assert_eq!(byte(clone, n % 256), value);
                        assert_eq!(byte(clone, (n + 1) % 256), ((n + 1) % 256) as u8);
                    }
                }
            });
        }
    });
    assert!(m.stats().counts.arrays_freed > 0);
    m.check().expect("sound");
}
