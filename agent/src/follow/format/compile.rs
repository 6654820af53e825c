//! From directives to a [`Format`]: what is of interest, and from which side it is read.

use super::{Field, Format, Piece, Unit, directives};

/// Why a format can not be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    #[error("{0:?} is no directive of Apache, gunicorn, translogger or nginx")]
    Directive(String),
    #[error("it has no {0}")]
    Missing(&'static str),
    #[error("nothing is between two of its fields, so that nobody can tell where one ends")]
    Adjacent,
    #[error(
        "no preset has that name: they are {0}; a format of one's own has directives such as %>s or $status"
    )]
    Preset(String),
}

impl FormatError {
    pub(super) fn directive(sign: char, rest: &str) -> Self {
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        Self::Directive(format!("{sign}{}", &rest[..end]))
    }
}

/// Of header fields, those that a class may depend on must be kept; nobody needs these.
const UNUSED_HEADERS: [&str; 2] = ["referer", "user-agent"];

pub(super) fn compile(text: &str, spelled: &str) -> Result<Format, FormatError> {
    let mut pieces = path_with_query(directives::split(spelled)?);
    if !pieces.iter().any(|piece| matches!(piece, Piece::Field(_))) {
        return Err(FormatError::Preset(Format::presets().collect::<Vec<_>>().join(", ")));
    }
    if pieces.windows(2).any(|pair| matches!(pair, [Piece::Field(_), Piece::Field(_)])) {
        return Err(FormatError::Adjacent);
    }
    keep_what_counts(&mut pieces);
    require(&pieces)?;
    let text = text.to_owned();
    let last = pieces.iter().rposition(counts).unwrap_or_default();
    let closed = matches!(pieces[last + 1..], [] | [Piece::Literal(_)]);
    // Where the last field of interest ends is told by what follows it; the rest may be anything.
    pieces.truncate(last + 2);
    if !closed {
        return Ok(Format { text, head: pieces, tail: Vec::new(), closed });
    }
    let Some((left, right)) = fork(&pieces) else {
        return Ok(Format { text, head: pieces, tail: Vec::new(), closed });
    };
    let tail = pieces.drain(right + 1..).rev().collect();
    pieces.truncate(left);
    Ok(Format { text, head: pieces, tail, closed })
}

/// `%U%q` and `%(U)s?%(q)s`: the one place where fields may touch, as the query goes with the path.
fn path_with_query(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut joined: Vec<Piece> = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let after_path = matches!(joined.last(), Some(Piece::Field(Field::Path)));
        if !(after_path && piece == Piece::Field(Field::Skip)) {
            joined.push(piece);
        }
    }
    joined
}

/// Leaves one field of each kind, the best, and skips the rest.
fn keep_what_counts(pieces: &mut [Piece]) {
    let fields = || pieces.iter().enumerate().filter_map(|(at, piece)| Some((at, rank(piece)?)));
    let best = |kind| {
        fields().filter(|(_, (k, _))| *k == kind).max_by_key(|(at, (_, rank))| (*rank, usize::MAX - at))
    };
    let kept: Vec<usize> = (0..KINDS).filter_map(best).map(|(at, _)| at).collect();
    for (at, piece) in pieces.iter_mut().enumerate() {
        let unused = matches!(piece, Piece::Field(Field::Header(name)) if UNUSED_HEADERS.contains(&&**name));
        if unused || (rank(piece).is_some() && !kept.contains(&at)) {
            *piece = Piece::Field(Field::Skip);
        }
    }
}

const KINDS: u8 = 9;

/// Which fields say the same thing, by number, and how well each does. `None`: no other says that.
fn rank(piece: &Piece) -> Option<(u8, u8)> {
    let Piece::Field(field) = piece else { return None };
    Some(match field {
        Field::Method => (0, 1),
        Field::Path => (1, 1),
        Field::Request => (2, 1),
        Field::Status => (3, 1),
        Field::BytesWithHead => (4, 1),
        Field::Bytes => (4, 2),
        // The server behind holds the worker; the one that writes the log may wait for its client.
        Field::TookBehind => (5, 3),
        Field::Took(Unit::WholeSeconds) => (5, 1),
        Field::Took(_) => (5, 2),
        Field::FirstByteBehind => (6, 1),
        Field::Host => (7, 1),
        Field::Length => (8, 1),
        Field::Header(_) | Field::Skip => return None,
    })
}

fn require(pieces: &[Piece]) -> Result<(), FormatError> {
    let has = |field: Field| pieces.contains(&Piece::Field(field));
    let named = has(Field::Request) || (has(Field::Method) && has(Field::Path));
    match (named, has(Field::Status)) {
        (false, _) => Err(FormatError::Missing("request: give %r or $request, or method and path")),
        (_, false) => Err(FormatError::Missing("status: give %>s, %(s)s or $status")),
        (true, true) => Ok(()),
    }
}

fn counts(piece: &Piece) -> bool {
    matches!(piece, Piece::Field(field) if *field != Field::Skip)
}

/// The first and the last of the fields, side by side, that clients fill in as they like and that nobody needs, if all
/// that counts after them is figures: these are found from the line's end.
fn fork(pieces: &[Piece]) -> Option<(usize, usize)> {
    let quoted = |at: usize| {
        let before = at.checked_sub(1).and_then(|before| pieces.get(before));
        let ends = |piece: Option<&Piece>| matches!(piece, Some(Piece::Literal(text)) if text.ends_with('"'));
        let begins =
            |piece: Option<&Piece>| matches!(piece, Some(Piece::Literal(text)) if text.starts_with('"'));
        ends(before) && begins(pieces.get(at + 1))
    };
    let filled_in = |at: usize| pieces[at] == Piece::Field(Field::Skip) && quoted(at);
    let right = (0..pieces.len()).rfind(|at| filled_in(*at))?;
    let between = (0..right).rev().take_while(|at| !counts(&pieces[*at]));
    let left = between.filter(|at| filled_in(*at)).last().unwrap_or(right);
    let figure = |piece: &Piece| match piece {
        Piece::Literal(_) => true,
        Piece::Field(field) => matches!(
            field,
            Field::Status
                | Field::Bytes
                | Field::BytesWithHead
                | Field::Length
                | Field::Took(_)
                | Field::TookBehind
                | Field::FirstByteBehind
                | Field::Skip
        ),
    };
    pieces[right + 1..].iter().all(figure).then_some((left, right))
}
