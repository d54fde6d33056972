//! The same for areas: spaces that map a file at different places, privately and shared, and forks
//! of them. The file is the simulator's on each host, so that what is read and written of it must
//! agree as well. Each access is brought in before it is made, so that one that fails is an answer
//! and no signal.

use std::sync::Arc;

use memfold_host::addr::{Access, PAGE_SIZE, PageNo, Run, SpaceNo};
use memfold_host::{Domain, Piece};
use memfold_linux::Delivery;
use memfold_mm::{Config, Digest, Mm, OpenFile, Rights, Size, UNLIMITED, Usage};
use memfold_sim::{Rng, SimSource, SimStore};

use crate::machine::Machine;

const STEPS: u32 = 160;
const SPACES: usize = 5;
/// Pages of a space, and of the file.
const PAGES: u32 = 40;
const FILE: u32 = 24;

struct Side<H> {
    mm: Arc<Mm<H, SimStore>>,
    source: SimSource,
    file: OpenFile,
    live: Vec<SpaceNo>,
}

/// Runs a seed on a host and prints a line for each step.
pub fn steps<H: Machine>(seed: u64, delivery: Delivery) {
    let config = Config {
        replacement: memfold_mm::Replacement::default(),
        native: memfold_mm::Native::Off,
        limit_bytes: UNLIMITED,
        machine_bytes: 64 << 20,
        spaces: SPACES as u32 + 2,
        store_bytes: 0,
        page_tables: memfold_mm::PageTables::OnTop,
    };
    let mm = H::manager(SimStore::new(seed), config, delivery);
    let byte = |n: usize| (n / PAGE_SIZE) as u8 + 1;
    let bytes = (0..FILE as usize * PAGE_SIZE - 100).map(byte).collect();
    let source = SimSource::new(seed, bytes);
    let file = mm.files().open(Box::new(source.clone())).expect("there is room");
    let mut side = Side {
        mm,
        source,
        file,
        live: Vec::new(),
    };
    let mut rng = Rng::new(seed ^ 0x6669_6c65);
    for n in 0..STEPS {
        let outcome = side.step(&mut rng);
        println!("| files {seed} step {n}: {outcome} {}", side.result());
        if n % 8 == 7 {
            assert_eq!(memfold_mm::check(&side.mm), Ok(()));
        }
    }
    side.end();
}

impl<H: Machine> Side<H> {
    fn step(&mut self, rng: &mut Rng) -> String {
        if self.live.len() < 2 {
            let size = Size {
                len: PAGES,
                reserve: PAGES,
            };
            let made = self.mm.create(size, Domain(0));
            self.live.extend(made.as_ref().ok());
            return format!("create {made:?}");
        }
        let space = self.live[rng.below(self.live.len() as u32) as usize];
        let first = PageNo(rng.below(PAGES));
        let len = rng.below(12).min(PAGES - first.0 - 1) + 1;
        let run = Run { first, len };
        let areas = self.mm.areas(space);
        let rights = [Rights::None, Rights::Read, Rights::ReadWrite][rng.below(3) as usize];
        match rng.below(100) {
            0..12 => {
                let kind = [Piece::Private, Piece::Shared][rng.below(2) as usize];
                let from = PageNo(rng.below(FILE));
                let done = areas.map(run, &self.file, from, kind, Rights::ReadWrite);
                format!("map {space} {run:?} {from} {kind:?} {done:?}")
            }
            12..16 => format!("unmap {space} {run:?} {:?}", areas.unmap(run)),
            16..22 => format!(
                "protect {space} {run:?} {rights:?} {:?}",
                areas.protect(run, rights)
            ),
            22..52 => self.access(space, first, Access::Read, 0),
            52..80 => self.access(space, first, Access::Write, rng.below(200) as u8),
            80..85 if self.live.len() < SPACES => {
                let fork = self.mm.fork(space);
                self.live.extend(fork.as_ref().ok());
                format!("fork {space} {fork:?}")
            }
            80..87 => {
                self.live.retain(|&live| live != space);
                format!("drop {space} {:?}", self.mm.drop_space(space))
            }
            87..92 => {
                let done = self.mm.files().sync(&self.file, PageNo(0), FILE);
                format!("sync {done:?}")
            }
            92..95 => format!("reclaim {}", self.mm.reclaim(len * 2)),
            95..97 => {
                let to = PageNo(rng.below(PAGES));
                format!("remap {space} {run:?} {to} {:?}", areas.remap(run, to))
            }
            _ => {
                let bytes = u64::from(rng.below(FILE * PAGE_SIZE as u32));
                let done = self.mm.files().resize(&self.file, bytes);
                format!("resize {bytes} {done:?}")
            }
        }
    }

    fn access(&self, space: SpaceNo, page: PageNo, access: Access, value: u8) -> String {
        let mm = &self.mm;
        if let Err(failed) = mm.fault(space, page, access) {
            return format!("{access:?} {failed:?} {:?}", mm.take_failure(space));
        }
        let mut bytes = [value; 16];
        let done = match access {
            Access::Read => H::load(mm, space, page, 1000, &mut bytes),
            Access::Write => H::store(mm, space, page, 1000, &bytes),
        };
        format!("{access:?} {space} {page} {} {done:?}", bytes[3])
    }

    /// What the system is after a step, the file included.
    fn result(&self) -> String {
        let digest = format!("{:?}", self.mm.host().at_rest(|| Digest::of(&self.mm)));
        let bytes = self.source.contents();
        let hash = |bytes: &[u8]| {
            bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            })
        };
        let usage = Usage {
            page_tables: 0,
            tables: 0,
            peak: 0,
            total: 0,
            free: 0,
            ..self.mm.usage()
        };
        format!(
            "{:016x} {:016x} {:?} {:?} {usage:?} {:?}",
            hash(digest.as_bytes()),
            hash(&bytes),
            self.source.traffic(),
            self.mm.files().stats(),
            self.mm.stats()
        )
    }

    fn end(mut self) {
        for space in self.live.drain(..).rev() {
            self.mm.drop_space(space).expect("nothing is pinned");
        }
        assert_eq!(memfold_mm::check(&self.mm), Ok(()));
        self.mm.files().close(self.file);
        let usage = self.mm.usage();
        assert_eq!((usage.private, usage.pool, usage.stored), (0, 0, 0));
    }
}
