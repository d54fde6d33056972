//! The store of the small machine: exact copies, whose costs tests decide.

use super::*;

/// What the store holds.
#[derive(Debug, Default)]
pub(crate) struct Shelved {
    pub(super) last: u64,
    pub(super) pages: BTreeMap<u64, Box<PageBytes>>,
    /// What each page was said to be similar to, in the order of the calls.
    pub near: Vec<Option<u64>>,
    /// Pages are said to save nothing from now on.
    pub saves_nothing: bool,
    /// What a page costs by itself, when it saves something.
    pub plain: u64,
    /// Costs are charged from now on; set it before the first put.
    pub charges: bool,
    /// What was charged for each page.
    pub(super) charged: BTreeMap<u64, u64>,
    /// Pages are said to be no difference to what they are similar to from now on.
    pub apart: bool,
    /// What is kept as a difference, and to what.
    pub(super) deltas: BTreeMap<u64, u64>,
}

/// The store.
#[derive(Debug)]
pub(crate) struct Shelf(pub Mutex<Shelved>);

impl Shelved {
    fn bytes(&self, delta: bool) -> u64 {
        match (self.saves_nothing, delta) {
            (true, _) => PAGE_SIZE as u64,
            (false, true) => 100,
            (false, false) => self.plain,
        }
    }
}

impl Store for Shelf {
    fn put(
        &self,
        _: Domain,
        page: &PageBytes,
        near: Option<Stored>,
        ledger: &dyn Ledger,
    ) -> Result<Stored, StoreError> {
        let mut shelf = self.0.lock();
        let cost = shelf.bytes(near.is_some() && !shelf.apart);
        if shelf.charges && !ledger.charge(cost) {
            return Err(StoreError::Full);
        }
        shelf.last += 1;
        let id = shelf.last;
        shelf.pages.insert(id, Box::new(*page));
        if shelf.charges {
            shelf.charged.insert(id, cost);
        }
        let near = near.map(|near| near.0.get());
        shelf.near.push(near);
        if let Some(base) = near.filter(|_| !shelf.apart) {
            shelf.deltas.insert(id, base);
        }
        Ok(Stored(NonZeroU64::new(id).expect("not 0")))
    }

    fn get(&self, id: Stored, out: &mut PageBytes) -> Result<(), StoreError> {
        *out = *self.0.lock().pages[&id.0.get()];
        Ok(())
    }

    fn free(&self, id: Stored, ledger: &dyn Ledger) {
        let mut shelf = self.0.lock();
        ledger.refund(shelf.charged.remove(&id.0.get()).unwrap_or(0));
        let was = shelf.pages.remove(&id.0.get());
        shelf.deltas.remove(&id.0.get());
        assert!(was.is_some(), "freed bytes twice");
    }

    fn cost(&self, id: Stored) -> Cost {
        let (shelf, id) = (self.0.lock(), id.0.get());
        let delta = shelf.deltas.contains_key(&id);
        let bytes = shelf.bytes(delta);
        let shared = shelf.deltas.values().any(|&base| base == id);
        Cost { bytes, shared, delta }
    }

    fn stats(&self) -> StoreStats {
        StoreStats {
            pages: self.0.lock().pages.len() as u64,
            ..StoreStats::default()
        }
    }
}
