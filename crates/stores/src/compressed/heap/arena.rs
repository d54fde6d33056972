//! The memory of the store: growable byte arrays ("regions") over one dense array of 4 KiB frames.
//!
//! Frames lie in chunks of 64 KiB, each an anonymous mapping. The frames in use are always
//! `0..used`: when a region gives one back, the last frame's bytes move into the hole. So no chunk
//! is ever held for the sake of a few survivors, and the chunks at the top are unmapped, which
//! returns them to the system:
//!
//! ```text
//! chunks    [ 64 KiB ][ 64 KiB ][ 64 KiB ]
//! frames     aabacbba  cccabcda  dc......
//!                                 ^used ^paid: touched before, so still held and charged
//! region c: its n-th byte is byte n % 4096 of its frame number n / 4096
//! ```
//!
//! Two phases: [`Arena::reserve`] charges the ledger and maps (and may fail, changing nothing),
//! then [`Arena::push_frame`] cannot fail. All of it is under the store's lock, as part of the
//! `Heap`; called by the heap's other files only.

use memfold_host::{Ledger, StoreError};
use memmap2::MmapMut;

/// Bytes of a frame.
pub(crate) const FRAME: usize = 4096;
/// Frames of a chunk, which is mapped and unmapped as one.
const CHUNK_FRAMES: usize = 16;
/// The top chunk is kept until this many frames below it are free too, so that a put and a free by
/// turns do not map and unmap by turns.
const SLACK_FRAMES: usize = 4;
/// What one frame costs in tables on the heap: its owner (8 bytes), its place in a region's list
/// (4), its share of the list of chunks (1), of the directory of ids (5) and of the lists of holes
/// (1), three times over for a vector that is being doubled.
const TABLE_BYTES: usize = 57;
/// What a frame is charged.
pub(crate) const FRAME_COST: u64 = (FRAME + TABLE_BYTES) as u64;

/// The system's error code for a lack of memory.
pub(super) const NO_MEMORY: i32 = 12;

/// A byte array in the arena, by number.
pub(crate) type Region = u8;

#[derive(Clone, Copy)]
struct Owner {
    region: Region,
    /// Which of the region's frames it is.
    place: u32,
}

/// See the head of the file.
pub(crate) struct Arena {
    chunks: Vec<MmapMut>,
    /// Of each frame in use; its length is the number of frames in use.
    owners: Vec<Owner>,
    /// The frames of each region, in the order of its bytes.
    regions: Vec<Vec<u32>>,
    /// Frames that were touched since their chunk was mapped, and are charged.
    paid: usize,
}

impl Arena {
    /// An arena that holds nothing.
    pub(crate) fn new(regions: Region) -> Self {
        let regions = (0..regions).map(|_| Vec::new()).collect();
        Self {
            chunks: Vec::new(),
            owners: Vec::new(),
            regions,
            paid: 0,
        }
    }

    /// Bytes charged now.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.paid as u64 * FRAME_COST
    }

    /// Frames that the region has.
    pub(crate) fn frames(&self, region: Region) -> usize {
        self.regions[usize::from(region)].len()
    }

    /// Makes sure that `count` frames can be pushed: charges for them and maps them.
    ///
    /// # Errors
    /// `Full` when the ledger refuses, `Device` when the system does; nothing has changed then.
    pub(crate) fn reserve(&mut self, count: usize, ledger: &dyn Ledger) -> Result<(), StoreError> {
        let wanted = self.owners.len() + count;
        if count != 0 && !self.has_tables(count) {
            return Err(StoreError::Device(NO_MEMORY));
        }
        if wanted <= self.paid {
            return Ok(());
        }
        let cost = (wanted - self.paid) as u64 * FRAME_COST;
        if !ledger.charge(cost) {
            return Err(StoreError::Full);
        }
        let mapped = self.chunks.len();
        // Ends: each turn adds a chunk, or fails.
        while self.chunks.len() * CHUNK_FRAMES < wanted {
            match MmapMut::map_anon(CHUNK_FRAMES * FRAME) {
                Ok(chunk) => self.chunks.push(chunk),
                Err(error) => {
                    self.chunks.truncate(mapped);
                    ledger.refund(cost);
                    return Err(StoreError::Device(error.raw_os_error().unwrap_or(0)));
                }
            }
        }
        self.paid = wanted;
        Ok(())
    }

    /// Makes room in the tables for frames of any region, so that pushing them cannot fail.
    fn has_tables(&mut self, count: usize) -> bool {
        let regions = &mut self.regions;
        self.owners.try_reserve(count).is_ok()
            && self.chunks.try_reserve(count).is_ok()
            && regions.iter_mut().all(|list| list.try_reserve(count).is_ok())
    }

    /// Gives the region one more frame, at its end. Its bytes are what they happen to be.
    ///
    /// # Panics
    /// When it was not reserved.
    pub(crate) fn push_frame(&mut self, region: Region) {
        assert!(
            self.owners.len() < self.paid,
            "a frame is reserved before it is used"
        );
        let list = &mut self.regions[usize::from(region)];
        self.owners.push(Owner {
            region,
            place: list.len() as u32,
        });
        list.push(self.owners.len() as u32 - 1);
    }

    /// Takes the region's last frame back; the arena's last frame moves into its place.
    ///
    /// # Panics
    /// When the region has none.
    pub(crate) fn pop_frame(&mut self, region: Region) {
        let hole = self.regions[usize::from(region)]
            .pop()
            .expect("a region gives back what it has") as usize;
        let last = self.owners.len() - 1;
        if hole != last {
            self.move_frame(last, hole);
            let owner = self.owners[last];
            self.owners[hole] = owner;
            self.regions[usize::from(owner.region)][owner.place as usize] = hole as u32;
        }
        self.owners.pop();
    }

    /// Unmaps the chunks that are free, and refunds them.
    pub(crate) fn settle(&mut self, ledger: &dyn Ledger) {
        let used = self.owners.len();
        let before = self.paid;
        // Ends: each turn drops a chunk.
        while let Some(below) = self.chunks.len().checked_sub(1) {
            if used > 0 && used + SLACK_FRAMES > below * CHUNK_FRAMES {
                break;
            }
            self.chunks.pop();
            self.paid = self.paid.min(below * CHUNK_FRAMES);
        }
        if before > self.paid {
            self.trim_tables();
            ledger.refund((before - self.paid) as u64 * FRAME_COST);
        }
    }

    /// Copies bytes of the region from `at` on.
    pub(crate) fn read(&self, region: Region, at: usize, out: &mut [u8]) {
        let list = &self.regions[usize::from(region)];
        let (mut place, mut start, mut done) = (at / FRAME, at % FRAME, 0);
        // Ends: each turn copies at least a byte.
        while done < out.len() {
            let len = (FRAME - start).min(out.len() - done);
            let frame = self.frame(list[place] as usize);
            out[done..done + len].copy_from_slice(&frame[start..start + len]);
            (place, start, done) = (place + 1, 0, done + len);
        }
    }

    /// Writes bytes of the region from `at` on.
    pub(crate) fn write(&mut self, region: Region, at: usize, bytes: &[u8]) {
        let (mut place, mut start, mut done) = (at / FRAME, at % FRAME, 0);
        // Ends: each turn copies at least a byte.
        while done < bytes.len() {
            let len = (FRAME - start).min(bytes.len() - done);
            let frame = self.regions[usize::from(region)][place] as usize;
            self.frame_mut(frame)[start..start + len].copy_from_slice(&bytes[done..done + len]);
            (place, start, done) = (place + 1, 0, done + len);
        }
    }

    /// The word of 4 bytes number `n` of the region.
    pub(crate) fn read_word(&self, region: Region, n: usize) -> u32 {
        let frame = self.frame(self.regions[usize::from(region)][n / (FRAME / 4)] as usize);
        u32::from_le_bytes(frame.as_chunks::<4>().0[n % (FRAME / 4)])
    }

    /// Sets the word of 4 bytes number `n` of the region.
    pub(crate) fn write_word(&mut self, region: Region, n: usize, word: u32) {
        let frame = self.regions[usize::from(region)][n / (FRAME / 4)] as usize;
        self.frame_mut(frame).as_chunks_mut::<4>().0[n % (FRAME / 4)] = word.to_le_bytes();
    }

    fn frame(&self, frame: usize) -> &[u8] {
        let start = frame % CHUNK_FRAMES * FRAME;
        &self.chunks[frame / CHUNK_FRAMES][start..start + FRAME]
    }

    fn frame_mut(&mut self, frame: usize) -> &mut [u8] {
        let start = frame % CHUNK_FRAMES * FRAME;
        &mut self.chunks[frame / CHUNK_FRAMES][start..start + FRAME]
    }

    fn move_frame(&mut self, from: usize, to: usize) {
        debug_assert!(to < from, "frames move down");
        let (start, end) = (from % CHUNK_FRAMES * FRAME, to % CHUNK_FRAMES * FRAME);
        let (lower, upper) = self.chunks.split_at_mut(from / CHUNK_FRAMES);
        match lower.get_mut(to / CHUNK_FRAMES) {
            Some(chunk) => chunk[end..end + FRAME].copy_from_slice(&upper[0][start..start + FRAME]),
            None => upper[0].copy_within(start..start + FRAME, end),
        }
    }

    /// Keeps the tables within what [`TABLE_BYTES`] pays for.
    fn trim_tables(&mut self) {
        trim(&mut self.chunks);
        trim(&mut self.owners);
        self.regions.iter_mut().for_each(trim);
    }
}

/// Gives room back when a vector has shrunk to less than half of it.
pub(super) fn trim<T>(table: &mut Vec<T>) {
    if table.capacity() > 2 * table.len() + 64 {
        table.shrink_to(table.len() + table.len() / 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::Account;

    /// Goal: regions keep their bytes while frames move, and all is refunded. Method: three regions
    /// grow by turns and shrink in another order.
    #[test]
    fn tenants_keep_their_bytes() {
        let account = Account::unlimited();
        let mut arena = Arena::new(3);
        for n in 0..60_usize {
            arena.reserve(1, &account).expect("no limit");
            arena.push_frame((n % 3) as u8);
            arena.write((n % 3) as u8, n / 3 * FRAME, &[n as u8; FRAME]);
        }
        assert_eq!(account.charged(), arena.held_bytes());
        for (region, left) in [(1_u8, 3_usize), (0, 0), (2, 7)] {
            while arena.frames(region) > left {
                arena.pop_frame(region);
            }
        }
        arena.settle(&account);
        assert_eq!(account.charged(), arena.held_bytes());
        assert_eq!(arena.chunks.len(), 1);
        for (region, left) in [(1_u8, 3_usize), (2, 7)] {
            let mut bytes = vec![0; left * FRAME];
            arena.read(region, 0, &mut bytes);
            for (place, frame) in bytes.chunks(FRAME).enumerate() {
                assert!(frame.iter().all(|&byte| byte == place as u8 * 3 + region));
            }
            let mut across = [0; 2];
            arena.read(region, FRAME - 1, &mut across);
            assert_eq!(across, [region, region + 3]);
        }
    }

    /// Goal: a refused reservation changes nothing. Method: a limit of two frames.
    #[test]
    fn a_refusal_changes_nothing() {
        let account = Account::limited(2 * FRAME_COST);
        let mut arena = Arena::new(1);
        arena.reserve(2, &account).expect("two fit");
        arena.push_frame(0);
        assert_eq!(arena.reserve(2, &account), Err(StoreError::Full));
        assert_eq!(
            (arena.held_bytes(), account.charged()),
            (2 * FRAME_COST, 2 * FRAME_COST)
        );
        arena.reserve(1, &account).expect("that one is paid for");
    }
}
