//! Goal: what a program has emptied is a failure of all who map it, and nothing waits for it.
//! Method: a machine from which the page is gone.

use crate::addr::{Access, PageNo, SpaceNo};
use crate::error::SpaceError;
use crate::host::HostError;
use crate::rig::{Harness, harness, read, resident, run, sound, space, value, write};
use crate::space::FaultError;

/// What the space is told about the page.
fn told(space: SpaceNo, page: u32) -> FaultError {
    FaultError::Host {
        space,
        page: PageNo(page),
        source: HostError::Emptied,
    }
}

fn fault(mm: &Harness, space: SpaceNo, page: u32) -> Result<(), FaultError> {
    mm.fault(space, PageNo(page), Access::Read)
}

#[test]
fn an_eviction_passes_over_it() {
    let mm = harness();
    let [a, b] = [(); 2].map(|()| space(&mm, 40));
    write(&mm, a, 0..8, 1);
    write(&mm, b, 0..8, 2);
    mm.host.empty(a, PageNo(3));
    assert_eq!((mm.evict(a, run(0, 40)), mm.evict(b, run(0, 40))), (Ok(7), Ok(8)));
    assert_eq!((resident(&mm, a), resident(&mm, b)), (vec![3], vec![]));
    assert_eq!(fault(&mm, a, 5), Err(told(a, 3)), "condemned");
    assert_eq!(mm.fork(a), Err(SpaceError::Fault(told(a, 3))));
    assert_eq!((mm.failure(a), mm.failure(b)), (Some(told(a, 3)), None));
    assert_eq!(mm.take_failure(a), Some(told(a, 3)));
    assert_eq!(mm.reclaim(1), 0, "it is set aside");
    assert_eq!(mm.failure(a), None);
    read(&mm, a, 5);
    assert_eq!((value(&mm, a, 5), value(&mm, b, 5)), (1, 2));
    sound(&mm);
}

#[test]
fn relatives_are_told() {
    let mm = harness();
    let a = space(&mm, 40);
    write(&mm, a, 0..8, 1);
    let [b, c] = [(); 2].map(|()| mm.fork(a).expect("room"));
    let d = space(&mm, 40);
    mm.host.empty(a, PageNo(3));
    read(&mm, b, 4);
    assert_eq!(
        [a, b, c].map(|no| mm.failure(no)),
        [None; 3],
        "its neighbours can move"
    );
    assert_eq!(fault(&mm, b, 3), Err(told(b, 3)));
    assert_eq!(
        [a, c].map(|no| mm.take_failure(no)),
        [a, c].map(|no| Some(told(no, 3)))
    );
    assert_eq!(mm.take_failure(d), None);
    // The exporter ends all the same; the others have been told, once more.
    mm.drop_space(a).expect("it can");
    assert_eq!(
        [b, c].map(|no| mm.take_failure(no)),
        [b, c].map(|no| Some(told(no, 3)))
    );
    for page in 0..8 {
        assert_eq!(value(&mm, b, page), u8::from(page != 3));
        assert_eq!(value(&mm, c, page), u8::from(page != 3));
    }
    sound(&mm);
}

#[test]
fn an_exporter_cannot_store_to_it() {
    let mm = harness();
    let a = space(&mm, 40);
    write(&mm, a, 0..8, 1);
    let b = mm.fork(a).expect("room");
    mm.host.empty(a, PageNo(3));
    assert_eq!(mm.fault(a, PageNo(3), Access::Write), Err(told(a, 3)));
    assert_eq!(mm.take_failure(b), Some(told(b, 3)));
    sound(&mm);
}
