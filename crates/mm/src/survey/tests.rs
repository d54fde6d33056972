//! Goal: each page is told as what it is, in any number of pieces, and who lives is told with what
//! it is a copy of. Method: spaces with pages in each state, beside the counts of `SpaceStats`.

use super::{Depth, Living, PageIs, living, survey};
use crate::addr::PageNo;
use crate::rig::{Harness, harness, run, space, write};
use crate::space::Merging;
use crate::space::kin::Made;

/// A letter for each page.
fn told(mm: &Harness, of: &Living, depth: Depth) -> String {
    let (mut told, mut next) = (String::new(), Some(PageNo(0)));
    while let Some(first) = next {
        let letter = |is| match is {
            PageIs::Absent => '.',
            PageIs::Inherited => '=',
            PageIs::Exclusive => 'x',
            PageIs::Exported => 'e',
            PageIs::Shared => 's',
            PageIs::Merged => 'm',
            PageIs::Swapped => 'c',
            PageIs::Pinned => 'p',
            PageIs::File => 'f',
            PageIs::Native => 'n',
        };
        let tell = |is, pages| told.extend(std::iter::repeat_n(letter(is), pages as usize));
        next = survey(mm, of, depth, first, tell).expect("it lives");
    }
    told
}

#[test]
fn pages_are_told_as_what_they_are() {
    let mm = harness();
    let a = space(&mm, 40);
    write(&mm, a, 0..10, 1);
    write(&mm, a, 33..36, 2);
    let b = mm.fork(a).expect("room");
    // The page moves to the pool with its neighbours; the others stay in the parent's window.
    write(&mm, b, 5..6, 4);
    mm.evict(a, run(34, 2)).expect("it lives");
    mm.evict(b, run(5, 1)).expect("it lives");
    write(&mm, b, 7..9, 4);
    mm.pin(b, run(8, 1)).expect("room");
    let all = living(&mm);
    let [first, second] = all.as_slice() else {
        panic!("two live: {all:?}")
    };
    let text = told(&mm, first, Depth::All);
    let stats = crate::SpaceStats::of(&mm, a).expect("it lives");
    let count = |text: &str, letter| text.matches(letter).count() as u32;
    assert_eq!(text.len(), 40);
    assert_eq!(count(&text, 'e'), stats.exported, "{text}");
    assert_eq!(count(&text, 's'), stats.shared - stats.exported, "{text}");
    assert_eq!(
        (count(&text, 'c'), count(&text, '.')),
        (stats.swapped, stats.absent),
        "{text}"
    );
    // What the fork has for itself, and no table of its own says anything of the last pages.
    let own = told(&mm, second, Depth::Own);
    assert_eq!(
        own,
        format!("ssssscsxps......{}{}", ".".repeat(16), "=".repeat(8))
    );
    let stats = crate::SpaceStats::of(&mm, b).expect("it lives");
    let text = told(&mm, second, Depth::All);
    assert_eq!(count(&text, 'x') + count(&text, 'p'), stats.exclusive, "{text}");
    assert_eq!(count(&text, 'c'), stats.swapped, "{text}");
}

/// Goal: of a leaf that a fork has for itself, what it has in common with relatives is told as
/// theirs, in the store as well.
#[test]
fn stored_pages_of_relatives_are_inherited() {
    let mm = harness();
    let a = space(&mm, 16);
    write(&mm, a, 0..8, 1);
    let b = mm.fork(a).expect("room");
    mm.evict(a, run(0, 4)).expect("it lives");
    write(&mm, b, 6..7, 2);
    mm.evict(b, run(6, 1)).expect("it lives");
    let all = living(&mm);
    assert_eq!(told(&mm, &all[1], Depth::Own), "====sscs........");
    assert_eq!(told(&mm, &all[1], Depth::All), "ccccsscs........");
}

#[test]
fn merged_pages_are_told() {
    let mm = harness();
    let root = space(&mm, 16);
    mm.set_merging(root, Merging::On).expect("it lives");
    let [a, b] = [(); 2].map(|()| mm.fork(root).expect("room"));
    for space in [a, b] {
        write(&mm, space, 2..4, 7);
    }
    let step = mm.merge_round(None).expect("room");
    assert!(step.round_over);
    let all = living(&mm);
    for of in &all[1..] {
        assert_eq!(told(&mm, of, Depth::Own), "..mm............");
    }
}

#[test]
fn a_large_space_is_told_in_pieces() {
    let mm = harness();
    let a = space(&mm, 5000);
    write(&mm, a, 0..3000, 1);
    let of = living(&mm)[0];
    assert_eq!(told(&mm, &of, Depth::All), "x".repeat(3000) + &".".repeat(2000));
    let piece = survey(&mm, &of, Depth::All, PageNo(0), |_, _| ());
    assert_eq!(piece, Some(Some(PageNo(super::PIECE))));
}

#[test]
fn kin_is_remembered_and_no_birth_comes_again() {
    let mm = harness();
    let a = space(&mm, 40);
    write(&mm, a, 0..10, 1);
    let frozen = mm.freeze(a).expect("room");
    let fork = mm.fork(frozen).expect("room");
    let kin = |no| {
        living(&mm)
            .iter()
            .find(|living| living.no == no)
            .expect("it lives")
            .kin
    };
    assert_eq!((kin(a).made, kin(a).parent), (Made::Created, None));
    assert_eq!(
        (kin(frozen).made, kin(frozen).parent),
        (Made::Frozen, Some(kin(a).birth))
    );
    assert_eq!(
        (kin(fork).made, kin(fork).parent),
        (Made::Forked, Some(kin(frozen).birth))
    );
    let before = living(&mm);
    let last = *before.iter().find(|living| living.no == fork).expect("it lives");
    // A fork that went its own way is frozen at another backing.
    write(&mm, fork, 0..3, 2);
    let other = mm.freeze(fork).expect("room");
    assert_eq!(
        (kin(other).made, kin(other).parent),
        (Made::Frozen, Some(kin(fork).birth))
    );
    mm.drop_space(fork).expect("room");
    assert_eq!(survey(&mm, &last, Depth::Own, PageNo(0), |_, _| ()), None);
    let next = mm.fork(a).expect("room");
    assert_eq!(next, fork, "its number is another's");
    assert_eq!(survey(&mm, &last, Depth::Own, PageNo(0), |_, _| ()), None);
    assert!(before.iter().all(|living| living.kin.birth != kin(next).birth));
    // A reset makes it a copy of another one.
    mm.reset(next, frozen).expect("room");
    assert_eq!(kin(next).parent, Some(kin(frozen).birth));
}
