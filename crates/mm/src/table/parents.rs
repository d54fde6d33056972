//! The chains of parents: from a table to the tables that point at it, up to the spaces.
//!
//! A parent is linked through its own slot that points at the child, or through its space's links
//! where the child is the root, so entering and leaving a chain takes no allocation. Guarded by the
//! child's lock; locks are taken upwards. Called where tables are shared, copied and dropped, and
//! by walks of the reverse map.

use super::{ChainLinks, Parent, Table, TableNo, Tables, slot_of};
use crate::addr::SpaceNo;

/// Whoever has the links of spaces into the chains of their roots.
pub(crate) trait Roots {
    /// Those of this space; guarded by its root table's lock.
    fn root_links(&self, space: SpaceNo) -> &ChainLinks;
}

/// The trees of all spaces: the tables, and where their roots are linked.
#[derive(Debug)]
pub(crate) struct Trees<'m, R> {
    pub(super) tables: &'m Tables,
    roots: &'m R,
}

impl<'m, R: Roots> Trees<'m, R> {
    /// These.
    pub fn new(tables: &'m Tables, roots: &'m R) -> Self {
        Self { tables, roots }
    }

    fn parent_links(&self, member: Parent, child: &Table) -> &ChainLinks {
        match member {
            Parent::Table(no) => {
                &self
                    .tables
                    .at(no)
                    .slot(slot_of(child.first_page(), child.level() + 1))
                    .links
            }
            Parent::Space(no) => self.roots.root_links(no),
        }
    }

    /// Counts a parent of `child` and enters it into the child's chain.
    pub fn adopt(&self, parent: Parent, child: TableNo) {
        let table = self.tables.at(child);
        table.add_ref();
        let mut parents = table.lock();
        let links = self.parent_links(parent, table);
        links.set_prev(0);
        links.set_next(parents.head);
        if let Some(head) = Parent::decode(parents.head) {
            self.parent_links(head, table).set_prev(parent.encode());
        }
        parents.head = parent.encode();
    }

    /// Takes a parent out of the child's chain.
    pub fn pull_parent(&self, parent: Parent, child: TableNo) {
        let table = self.tables.at(child);
        let mut parents = table.lock();
        let links = self.parent_links(parent, table);
        match Parent::decode(links.prev()) {
            Some(prev) => self.parent_links(prev, table).set_next(links.next()),
            None => {
                assert_eq!(parents.head, parent.encode(), "a table's chain lost a parent");
                parents.head = links.next();
            }
        }
        if let Some(next) = Parent::decode(links.next()) {
            self.parent_links(next, table).set_prev(links.prev());
        }
        links.set_next(0);
        links.set_prev(0);
    }

    /// Calls `visit` with each space that can reach the table; `visit` says whether to go on.
    pub fn spaces_of(&self, table: TableNo, visit: &mut dyn FnMut(SpaceNo) -> bool) -> bool {
        let t = self.tables.at(table);
        let parents = t.lock();
        let mut at = Parent::decode(parents.head);
        while let Some(member) = at {
            let more = match member {
                Parent::Space(no) => visit(no),
                Parent::Table(no) => self.spaces_of(no, visit),
            };
            if !more {
                return false;
            }
            at = Parent::decode(self.parent_links(member, t).next());
        }
        true
    }
}
