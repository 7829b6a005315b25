//! How much of an isolate's memory an allocation takes.

/// Returns the bytes that an allocation takes of WebAssembly's memory. Its allocator (dlmalloc, on
/// 32 bits) puts a word of 4 bytes before each, rounds up to 8 bytes, and takes 16 at least. An
/// empty text or list has none.
pub(crate) fn allocated(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { (bytes + 4).next_multiple_of(8).max(16) }
}

/// Returns the bytes that the elements of a list take, without what they own themselves.
pub(crate) fn allocated_list<T>(list: &Vec<T>) -> usize {
    allocated(list.capacity() * size_of::<T>())
}
