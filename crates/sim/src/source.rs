//! [`SimSource`]: a file of the simulated machine, bytes behind one lock (rank `Host`), which
//! fails by plan, and which others can change or shorten meanwhile.

use crate::plan::{Call, Plan, Planner};
use crate::state::{Guard, Guarded};
use memfold_host::addr::{PAGE_SIZE, PageBytes};
use memfold_host::{PageSource, SourceError};
use memfold_sync::{Arc, Rank};

/// Code of an error that a plan makes.
const EIO: i32 = 5;

#[derive(Debug)]
struct File {
    bytes: Vec<u8>,
    /// What would be left if the machine stopped.
    lasting: Vec<u8>,
    planner: Planner,
    reads: u64,
    writes: u64,
}

/// A file made of bytes; clones are the same file.
#[derive(Clone, Debug)]
pub struct SimSource {
    file: Arc<Guarded<File>>,
    writable: bool,
}

impl SimSource {
    /// A file with these bytes, that can be written; what a refused call does follows `seed`.
    #[must_use]
    pub fn new(seed: u64, bytes: Vec<u8>) -> Self {
        Self::with(seed, bytes, true)
    }

    /// The same, for reading only.
    #[must_use]
    pub fn read_only(seed: u64, bytes: Vec<u8>) -> Self {
        Self::with(seed, bytes, false)
    }

    fn with(seed: u64, bytes: Vec<u8>, writable: bool) -> Self {
        let file = File {
            lasting: bytes.clone(),
            bytes,
            planner: Planner::new(seed),
            reads: 0,
            writes: 0,
        };
        Self {
            file: Arc::new(Guarded::new(Rank::Host, file)),
            writable,
        }
    }

    /// From now on calls are refused as the plan says; counts begin at 0.
    pub fn set_plan(&self, plan: Plan) {
        self.file.lock().planner.set(plan);
    }

    /// Calls that the plan was about, and how many of them were refused.
    pub fn plan_counts(&self) -> (u64, u64) {
        self.file.lock().planner.counts()
    }

    /// What is in the file now.
    #[must_use]
    pub fn contents(&self) -> Vec<u8> {
        self.file.lock().bytes.clone()
    }

    /// What would be in the file if the machine stopped now.
    #[must_use]
    pub fn lasting(&self) -> Vec<u8> {
        self.file.lock().lasting.clone()
    }

    /// Pages that were read, and written, so far.
    #[must_use]
    pub fn traffic(&self) -> (u64, u64) {
        let file = self.file.lock();
        (file.reads, file.writes)
    }

    /// Somebody else changes the file, its length too.
    pub fn change(&self, change: impl FnOnce(&mut Vec<u8>)) {
        change(&mut self.file.lock().bytes);
    }

    fn enter(&self, call: Call) -> Result<Guard<'_, File>, SourceError> {
        let mut file = self.file.lock();
        match file.planner.refuses(call) {
            true => Err(SourceError::Os(EIO)),
            false => Ok(file),
        }
    }
}

/// Where a page begins, for a slice of bytes that may be shorter.
fn start(page: u64, bytes: &[u8]) -> usize {
    let at = usize::try_from(page)
        .ok()
        .and_then(|page| page.checked_mul(PAGE_SIZE));
    at.map_or(bytes.len(), |at| at.min(bytes.len()))
}

impl PageSource for SimSource {
    fn bytes(&self) -> Result<u64, SourceError> {
        Ok(self.enter(Call::SourceBytes)?.bytes.len() as u64)
    }

    fn is_writable(&self) -> bool {
        self.writable
    }

    fn read(&self, page: u64, out: &mut PageBytes) -> Result<(), SourceError> {
        let mut file = self.enter(Call::SourceRead)?;
        file.reads += 1;
        let there = &file.bytes[start(page, &file.bytes)..];
        let len = there.len().min(PAGE_SIZE);
        if len == 0 {
            return Err(SourceError::Ended);
        }
        out[..len].copy_from_slice(&there[..len]);
        out[len..].fill(0);
        Ok(())
    }

    fn write(&self, page: u64, bytes: &PageBytes, len: usize) -> Result<(), SourceError> {
        assert!(
            (1..=PAGE_SIZE).contains(&len),
            "{len} bytes of page {page} are written"
        );
        if !self.writable {
            return Err(SourceError::ReadOnly);
        }
        let refused = self.enter(Call::SourceWrite).err();
        let mut file = self.file.lock();
        // A write that fails may have written some.
        let len = match refused {
            Some(_) => file.planner.below(len as u32) as usize,
            None => len,
        };
        file.writes += u64::from(refused.is_none());
        let start = start(page, &file.bytes);
        let there = &mut file.bytes[start..];
        let len = len.min(there.len());
        there[..len].copy_from_slice(&bytes[..len]);
        refused.map_or(Ok(()), Err)
    }

    fn sync(&self) -> Result<(), SourceError> {
        let mut file = self.enter(Call::SourceSync)?;
        file.lasting = file.bytes.clone();
        Ok(())
    }

    fn resize(&self, bytes: u64) -> Result<(), SourceError> {
        if !self.writable {
            return Err(SourceError::ReadOnly);
        }
        let bytes = usize::try_from(bytes).map_err(|_| SourceError::Os(27))?;
        self.enter(Call::SourceResize)?.bytes.resize(bytes, 0);
        Ok(())
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::plan::{Calls, Lasting, When};

    /// Goal: what lies behind the end in the last page is zeros, no page begins there, a write
    /// makes no file longer, and what lasts is what was there at the last sync.
    #[test]
    fn pages_of_bytes() {
        let source = SimSource::new(1, vec![7; PAGE_SIZE + 10]);
        let mut page = [1; PAGE_SIZE];
        source.read(1, &mut page).unwrap();
        assert_eq!((page[9], page[10], page[PAGE_SIZE - 1]), (7, 0, 0));
        assert_eq!(source.read(9, &mut page), Err(SourceError::Ended));
        source.write(1, &[8; PAGE_SIZE], PAGE_SIZE).unwrap();
        assert_eq!(source.bytes(), Ok(PAGE_SIZE as u64 + 10));
        assert_eq!(source.contents()[PAGE_SIZE..], [8; 10]);
        assert_eq!(source.lasting()[PAGE_SIZE..], [7; 10]);
        source.sync().unwrap();
        assert_eq!(source.lasting(), source.contents());
        source.resize(3).unwrap();
        assert_eq!(source.contents(), [7; 3]);
        assert_eq!(source.traffic(), (2, 1));
    }

    /// Goal: each call can be refused; a source for reading only is not written.
    #[test]
    fn refusals() {
        let source = SimSource::new(1, vec![7; PAGE_SIZE]);
        let refused = Err(SourceError::Os(EIO));
        let mut page = [0; PAGE_SIZE];
        source.set_plan(Plan::ALL);
        assert_eq!(source.bytes(), Err(SourceError::Os(EIO)));
        assert_eq!(source.read(0, &mut page), refused);
        assert_eq!(source.write(0, &page, PAGE_SIZE), refused);
        assert_eq!((source.sync(), source.resize(0)), (refused, refused));
        assert_eq!(source.plan_counts(), (5, 5));
        assert_eq!(source.contents()[PAGE_SIZE - 1], 7, "a part may be written");
        let calls = Calls::only(Call::SourceRead);
        let when = When::Nth(0, Lasting::Once);
        source.set_plan(Plan { calls, when });
        assert_eq!(source.read(0, &mut page), refused);
        assert_eq!(source.read(0, &mut page), Ok(()));
        let source = SimSource::read_only(1, vec![7]);
        assert!(!source.is_writable());
        assert_eq!(source.write(0, &page, 1), Err(SourceError::ReadOnly));
        assert_eq!(source.resize(0), Err(SourceError::ReadOnly));
    }
}
