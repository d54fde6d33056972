//! Race models of the walks that the mapping word leads to: which walk it is, and that chains are
//! walked under the frame lock.

use super::*;
use crate::addr::FrameNo;
use crate::frame::Locked;
use memfold_sync::model::Part;
use memfold_sync::model::Preemptions::UpTo;

/// The number of the file whose page the frame is, and of its list of areas.
const FILE_NO: u32 = SHARER;

impl Scene {
    /// Which walk it is to be (Linux: `rmap_walk`), with the frame unlocked.
    fn dispatch(&self, how: Load) {
        let seen = self.frame.word.load().owner;
        // Relaxed: the defect is the second load.
        let again = (self.frame.word.word.load(Ordering::Relaxed) >> 32) as u32;
        let owner = match (how, seen) {
            (Load::Twice, Owner::File(_)) => Owner::File(FileNo(again)),
            (Load::Twice, Owner::Exclusive(_)) => Owner::Exclusive(leaf(again)),
            _ => seen,
        };
        let (what, number) = match owner {
            Owner::File(file) => ("the areas of file", file.0),
            Owner::Exclusive(at) => ("the mappers from leaf", at.leaf.0),
            Owner::Nobody => return,
            Owner::Shared(_) | Owner::Merged(_) => panic!("{owner:?} was never written"),
        };
        trace::note(&format!("walks {what} {number}"));
        match owner {
            Owner::File(_) => assert_eq!(number, FILE_NO, "walked a leaf as a file"),
            _ => assert_eq!(number, TAKER, "walked a file as a leaf"),
        }
        self.chains[number as usize].read();
    }
}

/// What the frame is first, and what it becomes.
#[derive(Clone, Copy)]
enum Reuse {
    /// A page leaves its file; the frame becomes a space's own.
    FileThenLeaf,
    /// A space's page goes to the store; the frame becomes a file's.
    LeafThenFile,
}

impl Reuse {
    fn owners(self) -> [(u32, Owner, &'static str); 2] {
        let file = (FILE_NO, Owner::File(FileNo(FILE_NO)), "the frame is file 1's");
        let leaf = (
            TAKER,
            Owner::Exclusive(leaf(TAKER)),
            "the frame is leaf 2's alone",
        );
        match self {
            Self::FileThenLeaf => [file, leaf],
            Self::LeafThenFile => [leaf, file],
        }
    }
}

/// A frame changes between a file and a space, against a walker that decides between the walks.
fn walks(reuse: Reuse, load: Load) -> impl Fn() {
    move || {
        let scene = Scene::new();
        let [(number, before, _), (next, after, said)] = reuse.owners();
        scene.chains[number as usize].write();
        Locked::wait(FrameNo(1), &scene.frame).set_owner(before);
        let reuser = part(&scene, move |scene: &Scene| {
            let mut held = Locked::wait(FrameNo(1), &scene.frame);
            trace::note("the page goes");
            held.retire();
            scene.chains[next as usize].write();
            trace::note(said);
            held.set_owner(after);
        });
        let walker = part(&scene, move |scene: &Scene| scene.dispatch(load));
        race([
            reuser.called("eviction, then a fault"),
            walker.called("walker (rmap_walk)"),
        ]);
    }
}

/// The seed's choice between the walks, of a frame that was a file's.
pub(crate) fn file_rule() -> Rule {
    let title = "word: the walk is chosen by one decoded value";
    Rule::new(title, All, walks(Reuse::FileThenLeaf, Load::Once)).defect(
        ["file-and-leaf-apart", "word: kind and number are loaded apart"],
        "The walker has learned from one load that the frame is a file's, and takes the file's number from another. The \
         frame has left its file in between, and is a space's own: the number is a leaf's, and is walked as a file.",
        "walked a leaf as a file",
        walks(Reuse::FileThenLeaf, Load::Twice),
    )
}

/// The same of a frame that was a space's own.
pub(crate) fn leaf_rule() -> Rule {
    let title = "word: the same for a frame that was a leaf's";
    Rule::new(title, All, walks(Reuse::LeafThenFile, Load::Once)).defect(
        ["leaf-and-file-apart", "word: the same, the other way round"],
        "The walker has learned from one load that a leaf owns the frame alone, and takes the leaf's number from another. \
         The page has gone to the store in between, and the frame is a file's: the number is the file's, and is walked \
         as a leaf.",
        "walked a file as a leaf",
        walks(Reuse::LeafThenFile, Load::Twice),
    )
}

/// Goal: no frame of a file is walked as an anonymous one, or the other way. Method: both rules and
/// their defects, each explored.
#[test]
fn the_walk_is_chosen_once() {
    file_rule().prove();
    leaf_rule().prove();
}

/// Changes all chains, and the owner, under the frame lock.
fn mover(scene: &Arc<Scene>, to: LeafSlot) -> Part {
    part(scene, move |scene: &Scene| {
        let held = Locked::wait(FrameNo(1), &scene.frame);
        // By a closure: the log is to say this line.
        scene.chains.iter().for_each(|chain| chain.write());
        held.set_owner(Owner::Shared(to));
    })
}

/// Follows the owner, under the frame lock if `locked`.
fn walker(scene: &Arc<Scene>, locked: bool) -> Part {
    let walker = part(scene, move |scene: &Scene| {
        let held = locked.then(|| Locked::attempt(FrameNo(1), &scene.frame));
        // A frame whose lock is taken counts as used: no walk.
        let walk = !matches!(held, Some(None));
        if let (true, Owner::Shared(at)) = (walk, scene.frame.word.load().owner) {
            trace::note(&format!("walks the mappers from leaf {}", at.leaf.0));
            scene.chains[at.leaf.0 as usize].read();
        }
    });
    walker.called("walker (rmap_walk)")
}

/// The owner's chain is not only published but changed again and again.
fn chains_change() {
    let scene = Scene::new();
    race([
        mover(&scene, leaf(TAKER)),
        mover(&scene, leaf(SHARER)),
        walker(&scene, true),
    ]);
}

fn a_chain_changes() {
    let scene = Scene::new();
    race([
        mover(&scene, leaf(TAKER)).called("a mapper comes or goes"),
        walker(&scene, false),
    ]);
}

/// Walks hold the frame lock, because chains change.
pub(crate) fn walk_rule() -> Rule {
    let title = "word: two owner moves against a locked walker";
    Rule::new(title, UpTo(3), chains_change).defect(
        ["walk-without-lock", "word: the walker does not hold the frame lock"],
        "One load told the walker the truth about the owner, and it follows it without the frame lock. A mapper \
         changes the chain while it walks: the word was right, the walk is not.",
        "Causality violation",
        a_chain_changes,
    )
}

/// Goal: walks hold the frame lock, because chains change. Method: the same walk with and without
/// it.
#[test]
fn walks_hold_the_frame_lock() {
    walk_rule().prove();
}
