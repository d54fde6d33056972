//! A run of a window becomes a piece, or shows the window's own backing again.
//!
//! Part of [`LinuxHost`], under the manager's locks; never in a fault. Each mapping is made in the
//! order of `windows.rs`: inaccessible, then everything in order, then accessible, so that nobody
//! ever reads a hole of the pool or stores past a protection; an access in the middle is a
//! segmentation violation. The run is empty, so a refusal in the middle loses nothing: what was
//! there before is mapped again, for which the machine has the mappings that it had then.

use memfold_host::addr::{PAGE_SIZE, PoolPage, Run, SpaceNo};
use memfold_host::{HostError, Piece};

use super::LinuxHost;
use crate::limits::refused;
use crate::pieces::Part;
use crate::sys::{self, Allowed};
use crate::table::Record;

/// How often what was there is mapped again before it is left inaccessible.
const TRIES: u32 = 64;

/// What the machine and this crate hold for a piece: two mappings with their places in the tree of
/// mappings, and what `pieces.rs` knows.
pub(super) const PIECE_BYTES: u64 = 768;

impl LinuxHost {
    /// The run shows pool pages from `from` on.
    pub(super) fn begin_piece(
        &self,
        space: SpaceNo,
        run: Run,
        from: PoolPage,
        kind: Piece,
    ) -> Result<(), HostError> {
        self.pool.reserve(from.0 + u64::from(run.len))?;
        let kind = Some(kind);
        self.changed(space);
        self.remake(self.record(space), Part { run, from, kind })
    }

    /// The run shows the window's own backing.
    pub(super) fn end_piece(&self, space: SpaceNo, run: Run) -> Result<(), HostError> {
        let record = self.record(space);
        let from = record.backing().plus(run.first.0);
        let kind = None;
        self.remake(record, Part { run, from, kind })
    }

    fn remake(&self, record: &Record, to: Part) -> Result<(), HostError> {
        let end = u64::from(to.run.first.0) + u64::from(to.run.len);
        assert!(
            end <= u64::from(record.len()),
            "{to:?} of a window of {} pages",
            record.len()
        );
        let before = record.pieces().parts(to.run, record.backing());
        if before.iter().all(|part| part.kind.is_none()) && to.kind.is_none() {
            return Ok(());
        }
        record.pieces().check_room(to)?;
        if let Err(refused) = self.lay(record, to) {
            for part in before {
                // The machine may be short of something for a moment; if it stays so, the run is
                // inaccessible until it is made something again.
                let _ = (0..TRIES).any(|_| {
                    let laid = self.lay(record, part).is_ok();
                    if !laid {
                        sys::yield_now();
                    }
                    laid
                });
            }
            return Err(refused);
        }
        record.pieces().set(to);
        Ok(())
    }

    /// Maps one part of a window.
    fn lay(&self, record: &Record, part: Part) -> Result<(), HostError> {
        let (first, pages) = (part.run.first.0 as usize, part.run.len as usize);
        let span = record.slot().part(first, pages);
        let at = part.from.0 * PAGE_SIZE as u64;
        let shared = part.kind == Some(Piece::Shared);
        let map = |pool| sys::piece::map_piece(span, pool, at, shared);
        self.pool
            .fd()
            .and_then(map)
            .map_err(refused("mmap", span.len()))?;
        self.make_ready(span)?;
        sys::allow(span, Allowed::All).map_err(refused("mprotect", span.len()))
    }
}
