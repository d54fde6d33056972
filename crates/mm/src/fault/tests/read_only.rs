//! Pages that may only be read are never open to stores.

use super::*;
use crate::Rights;
use memfold_sim::{Call, Calls, Lasting, Plan, When};

/// Goal: a page of the space's own that comes back for a load, where its area allows no stores, is
/// closed to them from the first moment on. Method: the machine refuses every later protection.
#[test]
fn what_comes_back_for_a_load_is_closed() {
    let mm = harness();
    let a = space(&mm, 8);
    write(&mm, a, 2..3, 7);
    assert_eq!(mm.areas(a).protect(run(0, 8), Rights::Read), Ok(()));
    assert_eq!(mm.evict(a, run(0, 8)), Ok(1));
    let (calls, when) = (Calls::only(Call::Protect), When::Nth(0, Lasting::FromThenOn));
    mm.host.set_plan(Plan { calls, when });
    read(&mm, a, 2);
    assert_eq!(value(&mm, a, 2), 7);
    assert_eq!(mm.host.stores_go_through(a), []);
    mm.host.set_plan(Plan::NONE);
    sound(&mm);
}
