//! Weaving: one source text that holds many mutants, each behind a switch.
//!
//! cargo-mutants says what a mutant is: the place of a piece of source and what is to stand there.
//! It builds the crate again for each. Here the pieces are found in the syntax tree, and
//! each becomes a choice: `if on(7) { a - b } else { a + b }`. Inside a choice the other pieces stand as they were,
//! since only one mutant is on at a time; so the text grows by its depth and not by its square.
//! What cannot be a choice at run time (a constant, the only value of an `impl Trait`) is written alone, as cargo-mutants does.

use super::list::{Mutant, Spot};
use anyhow::{Context, Result};
use proc_macro2::LineColumn;
use std::collections::BTreeMap;
use std::ops::Range;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// The path of the function that says whether a mutant is on.
const ON: &str = "crate::mutant::on";

/// A source with its mutants inside.
#[derive(Debug, Default)]
pub(crate) struct Woven {
    pub text: String,
    /// Where each mutant's own text stands; a compiler's error inside makes that mutant not viable.
    pub places: Vec<(usize, Range<usize>)>,
    /// Mutants that no choice at run time can stand for.
    pub alone: Vec<usize>,
    /// Mutants that no compiler takes.
    pub unviable: Vec<usize>,
}

/// What is done to a piece of source.
#[derive(Debug)]
enum Change {
    /// The mutant's text stands there instead of the piece.
    Instead(usize, String),
    /// At the start of a function: its value at once.
    Return(usize, String),
    /// After a pattern without a guard: the arm is not taken.
    Unless(usize),
}

/// What the tree says of a place.
#[derive(Clone, Debug)]
enum Piece {
    /// A place whose text may be replaced by itself.
    Whole(Range<usize>),
    /// An operator, and the expression around it.
    Operator(Range<usize>),
    /// A match arm: its pattern's end, or its guard.
    Arm {
        pattern: usize,
        guard: Option<Range<usize>>,
    },
    /// A field of a struct expression, and the whole expression.
    Field(Range<usize>),
    /// The inside of a function.
    Body(usize),
    /// Constant: decided by the compiler.
    Constant,
    /// `&&` around a `let`: nothing else can stand there.
    Chain,
    /// Its return type is known from its body.
    Opaque,
}

/// Puts the mutants, by their numbers, into the source.
pub(crate) fn weave(source: &str, mutants: &[(usize, &Mutant)]) -> Result<Woven> {
    let file = syn::parse_file(source).context("cannot parse")?;
    let mut finder = Finder {
        lines: line_starts(source),
        source,
        pieces: BTreeMap::new(),
        constant: 0,
        chain: 0,
    };
    finder.visit_file(&file);
    let mut woven = Woven::default();
    let mut changes: BTreeMap<(usize, std::cmp::Reverse<usize>), Vec<Change>> = BTreeMap::new();
    for &(no, mutant) in mutants {
        let at = finder.range(mutant.span.start, mutant.span.end);
        let key = (mutant.span.start, mutant.genre.clone());
        let Some(piece) = finder.pieces.get(&key).cloned() else {
            woven.alone.push(no);
            continue;
        };
        let (range, change) = match piece {
            Piece::Whole(range) => (range, Change::Instead(no, mutant.replacement.clone())),
            Piece::Operator(range) | Piece::Field(range) => {
                let rest = &source[at.end..range.end];
                // A field goes with its comma.
                let rest = match mutant.genre.as_str() {
                    "StructField" => rest.trim_start().trim_start_matches(','),
                    _ => rest,
                };
                let text = [&source[range.start..at.start], &mutant.replacement, rest].concat();
                (range, Change::Instead(no, text))
            }
            Piece::Arm {
                guard: Some(range), ..
            } => (range, Change::Instead(no, "false".to_owned())),
            Piece::Arm { pattern, guard: None } => (pattern..pattern, Change::Unless(no)),
            Piece::Body(start) => (start..start, Change::Return(no, mutant.replacement.clone())),
            Piece::Constant | Piece::Opaque => {
                woven.alone.push(no);
                continue;
            }
            Piece::Chain => {
                woven.unviable.push(no);
                continue;
            }
        };
        let key = (range.start, std::cmp::Reverse(range.end));
        changes.entry(key).or_default().push(change);
    }
    let changes: Vec<_> = changes
        .into_iter()
        .map(|((start, end), changes)| (start..end.0, changes))
        .collect();
    Loom {
        source,
        woven: &mut woven,
    }
    .write(0..source.len(), &changes);
    Ok(woven)
}

/// The source with nothing but this mutant changed, as cargo-mutants would write it.
pub(crate) fn replace(source: &str, mutant: &Mutant) -> String {
    let lines = line_starts(source);
    let at = |spot| offset(source, &lines, spot);
    let (start, end) = (at(mutant.span.start), at(mutant.span.end));
    [&source[..start], &mutant.replacement, &source[end..]].concat()
}

/// Writes the text.
struct Loom<'a> {
    source: &'a str,
    woven: &'a mut Woven,
}

impl Loom<'_> {
    /// Writes a range of the source with the changes inside it, which are sorted, the outer before the inner.
    fn write(&mut self, range: Range<usize>, changes: &[(Range<usize>, Vec<Change>)]) {
        let mut at = range.start;
        let mut next = 0;
        while let Some((place, here)) = changes.get(next) {
            self.woven.text += &self.source[at..place.start];
            let inner = changes[next + 1..]
                .iter()
                .take_while(|(other, _)| other.end <= place.end && other.start < place.end)
                .count();
            self.choice(place.clone(), here, &changes[next + 1..next + 1 + inner]);
            at = place.end;
            next += 1 + inner;
        }
        self.woven.text += &self.source[at..range.end];
    }

    fn choice(&mut self, place: Range<usize>, here: &[Change], inner: &[(Range<usize>, Vec<Change>)]) {
        if place.is_empty() {
            here.iter().for_each(|change| self.insert(change));
            return;
        }
        self.woven.text.push('(');
        for change in here {
            if let Change::Instead(no, text) = change {
                self.woven.text += &format!("if {ON}({no}) {{ ");
                self.own(*no, &format!("({text})"));
                self.woven.text += " } else ";
            }
        }
        self.woven.text += "{ (";
        self.write(place, inner);
        self.woven.text += ") })";
    }

    fn insert(&mut self, change: &Change) {
        match change {
            Change::Return(no, text) => {
                self.woven.text += &format!(" if {ON}({no}) {{ return ");
                self.own(*no, text);
                self.woven.text += "; } ";
            }
            Change::Unless(no) => {
                self.woven.text += " if ";
                self.own(*no, &format!("!{ON}({no})"));
                self.woven.text.push(' ');
            }
            Change::Instead(..) => unreachable!("nothing stands there to be replaced"),
        }
    }

    fn own(&mut self, no: usize, text: &str) {
        let start = self.woven.text.len();
        self.woven.text += text;
        self.woven.places.push((no, start..self.woven.text.len()));
    }
}

/// Where each line starts, in bytes.
fn line_starts(source: &str) -> Vec<usize> {
    std::iter::once(0)
        .chain(source.match_indices('\n').map(|(at, _)| at + 1))
        .collect()
}

/// The byte at which a place begins.
fn offset(source: &str, lines: &[usize], at: Spot) -> usize {
    let line = lines[at.line - 1];
    let rest = &source[line..];
    line + rest
        .char_indices()
        .nth(at.column - 1)
        .map_or(rest.len(), |(byte, _)| byte)
}

/// Finds the pieces that mutants change.
struct Finder<'a> {
    lines: Vec<usize>,
    source: &'a str,
    pieces: BTreeMap<(Spot, String), Piece>,
    /// How many constants are around.
    constant: u32,
    /// Whether a `let` hangs on the `&&` around.
    chain: u32,
}

impl Finder<'_> {
    fn range(&self, start: Spot, end: Spot) -> Range<usize> {
        let at = |spot| offset(self.source, &self.lines, spot);
        at(start)..at(end)
    }

    fn bytes(&self, span: proc_macro2::Span) -> Range<usize> {
        self.range(spot(span.start()), spot(span.end()))
    }

    fn note(&mut self, start: LineColumn, genre: &str, piece: Piece) {
        let piece = if self.constant != 0 {
            Piece::Constant
        } else {
            piece
        };
        self.pieces.insert((spot(start), genre.to_owned()), piece);
    }

    fn function(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let opaque = matches!(&signature.output, syn::ReturnType::Type(_, ty) if matches!(**ty, syn::Type::ImplTrait(_)));
        if let Some(first) = block.stmts.first() {
            let start = self.bytes(block.span()).start + 1;
            let piece = match opaque {
                true => Piece::Opaque,
                false => Piece::Body(start),
            };
            self.constant += u32::from(signature.constness.is_some());
            self.note(first.span().start(), "FnValue", piece);
            self.constant -= u32::from(signature.constness.is_some());
        }
    }

    fn in_constant(&mut self, look: impl FnOnce(&mut Self)) {
        self.constant += 1;
        look(self);
        self.constant -= 1;
    }
}

fn spot(at: LineColumn) -> Spot {
    Spot {
        line: at.line,
        column: at.column + 1,
    }
}

/// Whether a `let` hangs on this chain of `&&`.
fn has_let(e: &syn::Expr) -> bool {
    match e {
        syn::Expr::Let(_) => true,
        syn::Expr::Binary(b) if matches!(b.op, syn::BinOp::And(_)) => has_let(&b.left) || has_let(&b.right),
        _ => false,
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_fn(&mut self, f: &'ast syn::ItemFn) {
        self.function(&f.sig, &f.block);
        let constant = u32::from(f.sig.constness.is_some());
        self.constant += constant;
        visit::visit_item_fn(self, f);
        self.constant -= constant;
    }

    fn visit_impl_item_fn(&mut self, f: &'ast syn::ImplItemFn) {
        self.function(&f.sig, &f.block);
        let constant = u32::from(f.sig.constness.is_some());
        self.constant += constant;
        visit::visit_impl_item_fn(self, f);
        self.constant -= constant;
    }

    fn visit_trait_item_fn(&mut self, f: &'ast syn::TraitItemFn) {
        if let Some(block) = &f.default {
            self.function(&f.sig, block);
        }
        visit::visit_trait_item_fn(self, f);
    }

    fn visit_expr_binary(&mut self, e: &'ast syn::ExprBinary) {
        let whole = syn::Expr::Binary(e.clone());
        let chained = has_let(&whole);
        let piece = match chained || self.chain != 0 && matches!(e.op, syn::BinOp::And(_)) {
            true => Piece::Chain,
            false => Piece::Operator(self.bytes(e.span())),
        };
        self.note(e.op.span().start(), "BinaryOperator", piece);
        let before = self.chain;
        self.chain = u32::from(chained);
        visit::visit_expr_binary(self, e);
        self.chain = before;
    }

    fn visit_expr_paren(&mut self, e: &'ast syn::ExprParen) {
        let before = std::mem::take(&mut self.chain);
        visit::visit_expr_paren(self, e);
        self.chain = before;
    }

    fn visit_expr_unary(&mut self, e: &'ast syn::ExprUnary) {
        let piece = Piece::Operator(self.bytes(e.span()));
        self.note(e.op.span().start(), "UnaryOperator", piece);
        visit::visit_expr_unary(self, e);
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        let guard = arm.guard.as_ref().map(|(_, guard)| self.bytes(guard.span()));
        if let (Some((_, e)), Some(range)) = (&arm.guard, &guard) {
            self.note(e.span().start(), "MatchArmGuard", Piece::Whole(range.clone()));
        }
        let pattern = self.bytes(arm.pat.span()).end;
        self.note(arm.span().start(), "MatchArm", Piece::Arm { pattern, guard });
        visit::visit_arm(self, arm);
    }

    fn visit_expr_struct(&mut self, e: &'ast syn::ExprStruct) {
        let whole = self.bytes(e.span());
        for field in &e.fields {
            self.note(field.span().start(), "StructField", Piece::Field(whole.clone()));
        }
        visit::visit_expr_struct(self, e);
    }

    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.in_constant(|finder| visit::visit_item_const(finder, item));
    }

    fn visit_item_static(&mut self, item: &'ast syn::ItemStatic) {
        self.in_constant(|finder| visit::visit_item_static(finder, item));
    }

    fn visit_impl_item_const(&mut self, item: &'ast syn::ImplItemConst) {
        self.in_constant(|finder| visit::visit_impl_item_const(finder, item));
    }

    fn visit_type_array(&mut self, array: &'ast syn::TypeArray) {
        self.in_constant(|finder| visit::visit_type_array(finder, array));
    }

    fn visit_expr_repeat(&mut self, e: &'ast syn::ExprRepeat) {
        self.visit_expr(&e.expr);
        self.in_constant(|finder| finder.visit_expr(&e.len));
    }
}
