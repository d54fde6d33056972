//! A database that refers to itself by offset: one writer, and readers that see one moment of it.
//!
//! A read transaction is a fork: it costs microseconds whatever the size, copies nothing, and sees
//! the database as it was when it began, however long it takes. The database is larger than the
//! budget: pages that nobody uses go to the compressed store.

use memfold::{Error, Memory, Space, SpaceSize};

/// Bytes of an account: its number, and what is on it.
const ROW: usize = 16;
/// Bytes of a page of accounts, as the database reads and writes them.
const PAGE: usize = 4096;
const ACCOUNTS: u64 = 1 << 21;
const EACH: u64 = 1000;
const BUDGET: u64 = 20 << 20;

/// All accounts, in one image of 32 MiB.
struct Accounts(Space);

impl Accounts {
    fn create(memory: &Memory) -> Result<Self, Error> {
        let accounts = Self(memory.create(SpaceSize::fixed(ACCOUNTS * ROW as u64))?);
        let mut page = [0; PAGE];
        for first in (0..ACCOUNTS).step_by(PAGE / ROW) {
            for (number, row) in (first..).zip(page.chunks_exact_mut(ROW)) {
                row[..8].copy_from_slice(&number.to_le_bytes());
                row[8..].copy_from_slice(&EACH.to_le_bytes());
            }
            accounts.0.write(first * ROW as u64, &page)?;
        }
        Ok(accounts)
    }

    /// A read transaction.
    fn snapshot(&self) -> Result<Self, Error> {
        self.0.fork().map(Self)
    }

    fn get(&self, account: u64) -> Result<u64, Error> {
        let mut bytes = [0; 8];
        self.0.read(account * ROW as u64 + 8, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn set(&self, account: u64, value: u64) -> Result<(), Error> {
        self.0.write(account * ROW as u64 + 8, &value.to_le_bytes())
    }

    fn transfer(&self, from: u64, to: u64, most: u64) -> Result<(), Error> {
        let amount = self.get(from)?.min(most);
        self.set(from, self.get(from)? - amount)?;
        self.set(to, self.get(to)? + amount)
    }

    /// What is on each account.
    fn all(&self) -> Result<Vec<u64>, Error> {
        let mut all = Vec::new();
        let mut page = [0; PAGE];
        for first in (0..ACCOUNTS).step_by(PAGE / ROW) {
            self.0.read(first * ROW as u64, &mut page)?;
            all.extend(page.chunks_exact(ROW).map(|row| {
                let value = row[8..].first_chunk().expect("eight bytes");
                u64::from_le_bytes(*value)
            }));
        }
        Ok(all)
    }
}

fn main() -> Result<(), Error> {
    let memory = Memory::builder().budget_bytes(BUDGET).build()?;
    let accounts = Accounts::create(&memory)?;
    let mut readers = Vec::new();
    let mut random = 1_u64;
    for n in 0..4000 {
        if n % 1000 == 500 {
            readers.push(accounts.snapshot()?);
        }
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let (from, to) = (random >> 20 & (ACCOUNTS - 1), random >> 40 & (ACCOUNTS - 1));
        accounts.transfer(from, to, random % 500)?;
    }
    let mut before = Vec::new();
    for reader in &readers {
        let now = reader.all()?;
        let total: u64 = now.iter().sum();
        assert_eq!(total, ACCOUNTS * EACH, "a moment between two transactions");
        assert_ne!(now, before, "each reader has its own");
        before = now;
    }
    let held = memory.stats().usage.total;
    assert!(held <= BUDGET);
    println!(
        "a database of {} MiB and {} snapshots of it hold {} MiB; the budget is {}",
        (ACCOUNTS * ROW as u64) >> 20,
        readers.len(),
        held >> 20,
        BUDGET >> 20
    );
    Ok(())
}

#[test]
fn it_runs() -> Result<(), Error> {
    main()
}
