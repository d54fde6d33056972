//! Goal: what is encoded comes back, and no body makes a decoder panic. Method: pages of each sort,
//! and bodies of random bytes.

use super::*;
use crate::conformance::pages::{Rng, changed, noise, text};
use proptest::prelude::*;

fn round_trip(page: &PageBytes, base: Option<&PageBytes>) -> Found {
    let mut bench = Workbench::new().expect("memory");
    let found = encode(page, base, &mut bench);
    let (mut out, mut room) = (noise(99), noise(98));
    match base {
        Some(base) if found.kind.is_delta() => decode_delta(
            (found.kind, bench.body(found)),
            (Kind::Raw, &base[..]),
            &mut room,
            &mut out,
        ),
        _ => decode(found.kind, bench.body(found), &mut out),
    }
    .expect("what was encoded decodes");
    assert!(*out == *page, "the page comes back ({found:?})");
    found
}

#[test]
fn each_sort_of_page_finds_its_encoding() {
    let mut page = vec_page(0x55);
    assert_eq!(
        round_trip(&page, None),
        Found {
            kind: Kind::Fill,
            len: 8
        }
    );
    page = noise(1);
    assert_eq!(
        round_trip(&page, None),
        Found {
            kind: Kind::Raw,
            len: PAGE_SIZE
        }
    );
    page = text(1);
    assert_eq!(round_trip(&page, None).kind, Kind::Lz4);
    page = vec_page(0);
    page[77] = 1;
    assert_eq!(
        round_trip(&page, None),
        Found {
            kind: Kind::Sparse,
            len: 3
        }
    );
    page = noise(1);
    page[4095] ^= 1;
    page[0] ^= 1;
    assert_eq!(
        round_trip(&page, Some(&noise(1))),
        Found {
            kind: Kind::Runs,
            len: 6
        }
    );
}

#[test]
fn a_shifted_page_takes_its_base_as_dictionary() {
    let base = noise(5);
    let mut page = base.clone();
    page.copy_within(100..2100, 112);
    let found = round_trip(&page, Some(&base));
    assert_eq!(found.kind, Kind::Dict);
    assert!(found.len < 200, "{found:?}");
}

#[test]
fn runs_of_every_length_come_back() {
    let base = vec_page(0);
    for len in [1, 2, 7, 8, 14, 15, 16, 63, 64, 65, 270, 271, 2040] {
        for start in [0, 1, 63, 1000, PAGE_SIZE - len] {
            let mut page = base.clone();
            page[start..start + len].fill(3);
            let mut out = vec![0; 2048];
            let body = runs::encode(&page, &base, &mut out).expect("it fits");
            let mut back = base.clone();
            runs::apply(&out[..body], &mut back).expect("it applies");
            assert!(back == page, "a run of {len} bytes at {start}");
        }
    }
}

#[test]
fn no_body_is_longer_than_a_page() {
    for changes in (0..2000).step_by(50) {
        let base = noise(1);
        let found = round_trip(&changed(&base, changes, 3), Some(&base));
        assert!(
            found.len <= if found.kind == Kind::Raw { PAGE_SIZE } else { WORTH },
            "{found:?}"
        );
    }
}

#[test]
fn runs_stop_at_the_room_that_they_have() {
    assert_eq!(runs::encode(&noise(1), &noise(2), &mut [0; 100]), None);
}

fn vec_page(byte: u8) -> Box<PageBytes> {
    vec![byte; PAGE_SIZE]
        .into_boxed_slice()
        .try_into()
        .expect("one page long")
}

proptest! {
    #[test]
    fn any_change_comes_back(seed: u64, count in 0_usize..200, longest in 1_usize..60) {
        let base = text(seed);
        let mut page = base.clone();
        let mut rng = Rng::new(seed);
        for _ in 0..count {
            let (at, len) = (rng.below(PAGE_SIZE), 1 + rng.below(longest));
            for byte in page.iter_mut().skip(at).take(len) {
                *byte = rng.next() as u8;
            }
        }
        round_trip(&page, Some(&base));
        round_trip(&page, None);
    }

    #[test]
    fn no_body_makes_a_decoder_panic(number in 0_u8..8, body in prop::collection::vec(any::<u8>(), 0..600)) {
        let (mut out, mut room) = (vec_page(0), vec_page(0));
        if let Some(kind) = Kind::from_number(number) {
            let _ = decode(kind, &body, &mut out);
            let _ = decode_delta((kind, &body), (Kind::Raw, &noise(1)[..]), &mut room, &mut out);
        }
    }
}
