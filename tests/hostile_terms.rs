//! Terms that are made to break a decoder: each is refused or dealt with, within bounds of stack and memory.

#![expect(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hash::{DefaultHasher, Hash, Hasher};

use beamline::etf::{DecodeErrorKind, Limits, Reader, decode, to_bytes};
use beamline::term::Term;
use bytes::Bytes;

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.with(|count| count.set(count.get() + layout.size()));
        // SAFETY: the caller keeps to the contract of this method, which is the same one.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// The bytes allocated, freed or not, by the work.
fn allocated(work: impl FnOnce()) -> usize {
    let before = ALLOCATED.with(Cell::get);
    work();
    ALLOCATED.with(Cell::get) - before
}

/// Runs on a stack that a recursion on a term's depth would overflow at once.
fn on_a_small_stack(work: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(256 << 10).spawn(work).unwrap().join().unwrap();
}

/// Enough to overflow the small stack; a million takes its time in a build without optimisation.
const LEVELS: usize = 200_000;
const MILLION: usize = 1_000_000;

/// Nested containers around an empty list.
fn nested(levels: usize, open: &[u8], close: &[u8]) -> Bytes {
    [&[131][..], &open.repeat(levels), &[106], &close.repeat(levels)].concat().into()
}

fn hash(term: &Term) -> u64 {
    let mut hasher = DefaultHasher::new();
    term.hash(&mut hasher);
    hasher.finish()
}

fn all_that_is_done_to_terms(bytes: &Bytes) {
    let (term, used) = decode(bytes, &Limits::default()).unwrap();
    assert_eq!(used, bytes.len());
    let copy = term.clone();
    assert!(copy == term);
    assert!(copy.cmp(&term).is_eq());
    assert!(copy.erlang_cmp(&term).is_eq());
    assert_eq!(hash(&copy), hash(&term));
    assert_eq!(to_bytes(&copy).unwrap(), bytes);
    assert!(format!("{term}").len() > LEVELS);
    assert!(format!("{term:?}").len() > LEVELS);
    drop(term);
    let other = Term::tuple([copy, Term::atom("other")]);
    assert!(other.clone() == other);
}

#[test]
fn a_million_nested_tuples_do_not_recurse() {
    on_a_small_stack(|| all_that_is_done_to_terms(&nested(MILLION, &[104, 1], &[])));
}

#[test]
fn a_million_nested_lists_do_not_recurse() {
    on_a_small_stack(|| all_that_is_done_to_terms(&nested(MILLION, &[108, 0, 0, 0, 1], &[106])));
}

#[test]
fn nested_maps_do_not_recurse() {
    on_a_small_stack(|| {
        all_that_is_done_to_terms(&nested(LEVELS, &[116, 0, 0, 0, 1, 97, 1], &[]));
        all_that_is_done_to_terms(&nested(LEVELS, &[116, 0, 0, 0, 1], &[97, 1]));
    });
}

#[test]
fn nested_improper_lists_do_not_recurse() {
    on_a_small_stack(|| all_that_is_done_to_terms(&nested(LEVELS, &[108, 0, 0, 0, 1], &[97, 1])));
}

#[test]
fn keys_that_have_to_be_compared_at_every_level_take_no_quadratic_time() {
    // #{#{#{... => [], [] => []} => [], [] => []} ...}: each level has two keys.
    on_a_small_stack(|| {
        let bytes = nested(LEVELS, &[116, 0, 0, 0, 2], &[106, 106, 106]);
        // The innermost map has the key [] twice.
        let error = decode(&bytes, &Limits::default()).unwrap_err();
        assert_eq!(error.kind, DecodeErrorKind::DuplicateKey);
        let open = [116, 0, 0, 0, 2].repeat(LEVELS / 4);
        let bytes = [&[131][..], &open, &[97, 1], &[106, 106, 106].repeat(LEVELS / 4)].concat().into();
        let (term, _) = decode(&bytes, &Limits::default()).unwrap();
        assert!(term.clone() == term);
    });
}

#[test]
fn a_term_that_is_a_chain_of_tails_is_one_flat_list() {
    on_a_small_stack(|| {
        let chain = [&[131][..], &[108, 0, 0, 0, 1, 97, 7].repeat(LEVELS), &[106]].concat().into();
        let (term, _) = decode(&chain, &Limits::default()).unwrap();
        assert_eq!(term.as_list().map(<[Term]>::len), Some(LEVELS));
        let heads = [&[131][..], &[108, 0, 0, 0, 0].repeat(LEVELS), &[97, 7]].concat().into();
        assert_eq!(decode(&heads, &Limits::default()).unwrap().0, Term::from(7));
    });
}

#[test]
fn deep_text_does_not_recurse() {
    on_a_small_stack(|| {
        let text = [&"[".repeat(LEVELS)[..], &"]".repeat(LEVELS)].concat();
        assert!(text.parse::<Term>().unwrap().to_string() == text);
        let text = "{#{a=>[".repeat(LEVELS);
        assert!(text.parse::<Term>().is_err());
    });
}

#[test]
fn past_the_depth_limit_there_is_an_error_and_no_crash() {
    let mut limits = Limits::default();
    limits.depth = 1000;
    let error = decode(&nested(LEVELS, &[104, 1], &[]), &limits).unwrap_err();
    assert_eq!((error.kind, error.offset), (DecodeErrorKind::Depth, 1 + 2 * 1000));
}

#[test]
fn claimed_counts_and_lengths_allocate_nothing() {
    let claims: [&[u8]; 9] = [
        &[105, 255, 255, 255, 255],
        &[108, 255, 255, 255, 255],
        &[109, 255, 255, 255, 255],
        &[111, 255, 255, 255, 255, 0],
        &[116, 255, 255, 255, 255],
        &[77, 255, 255, 255, 255, 1],
        &[67, 255, 255, 255, 255, 0, 119, 1, 97, 119, 1, 97],
        &[107, 255, 255],
        &[80, 255, 255, 255, 255, 120, 156],
    ];
    for claim in claims {
        for before in [&[131][..], &[131, 104, 3, 106], &[131, 116, 0, 0, 0, 1, 106]] {
            let bytes = Bytes::from([before, claim].concat());
            let limits = Limits::default();
            let bytes_allocated = allocated(|| assert!(decode(&bytes, &limits).is_err()));
            assert!(bytes_allocated < 1024, "{claim:?} after {before:?}: {bytes_allocated} bytes");
        }
    }
}

#[test]
fn counts_that_are_claimed_at_every_level_allocate_nothing() {
    // Each list says that all the rest of the input are its elements.
    let mut bytes = vec![131];
    for left in (1..20_000_u32).rev() {
        bytes.push(108);
        bytes.extend((left * 5 - 4).to_be_bytes());
    }
    let bytes = Bytes::from(bytes);
    let bytes_allocated = allocated(|| assert!(decode(&bytes, &Limits::default()).is_err()));
    assert!(bytes_allocated < 40 * bytes.len(), "{bytes_allocated} bytes");
}

#[test]
fn a_bomb_is_not_inflated_past_what_it_announced() {
    let zeros = to_bytes(&Term::from(Bytes::from(vec![0; 32 << 20]))).unwrap();
    let mut bomb = beamline::etf::to_bytes_compressed(&decode(&zeros, &Limits::default()).unwrap().0, 9)
        .unwrap()
        .to_vec();
    assert!(bomb.len() < 100_000);
    bomb[2..6].copy_from_slice(&1000_u32.to_be_bytes());
    let bytes = Bytes::from(bomb);
    let bytes_allocated = allocated(|| {
        let error = decode(&bytes, &Limits::default()).unwrap_err();
        assert_eq!(error.kind, DecodeErrorKind::Inflate);
    });
    assert!(bytes_allocated < 256 << 10, "{bytes_allocated} bytes");
}

#[test]
fn two_million_distinct_atoms_are_over_the_limit() {
    const ATOMS: u32 = 2_000_000;
    let mut bytes = vec![131, 108];
    bytes.extend(ATOMS.to_be_bytes());
    for number in 0..ATOMS {
        bytes.extend([119, 7]);
        bytes.extend(format!("{number:07}").bytes());
    }
    bytes.push(106);
    let error = decode(&bytes.into(), &Limits::default()).unwrap_err();
    assert_eq!(error.kind, DecodeErrorKind::Atoms);
}

#[test]
fn two_million_times_the_same_atom_is_a_term() {
    const ATOMS: u32 = 2_000_000;
    let bytes =
        [&[108][..], &ATOMS.to_be_bytes(), &[119, 2, b'o', b'k'].repeat(ATOMS as usize), &[106]].concat();
    assert_eq!(Reader::new(&bytes, &[]).skip(&Limits::default()), Ok(()));
}
