//! Numbers and texts as bytes. Reading knows where the bytes end, and takes no memory that they do
//! not fill. Pure.

/// What was to be read is not there, or says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Texts are at most so long, in bytes.
pub(crate) const MAX_TEXT: usize = 256;

/// Writes a number.
pub(crate) fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Writes by how much a number changed, wherever it wraps.
pub(crate) fn put_change(out: &mut Vec<u8>, before: u64, now: u64) {
    let change = now.wrapping_sub(before).cast_signed();
    put(out, (change << 1 ^ change >> 63).cast_unsigned());
}

/// Writes a text, its beginning if it is too long.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    let text = &text[..text.floor_char_boundary(MAX_TEXT)];
    put(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Bytes that are read from their beginning.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Words<'a>(pub &'a [u8]);

impl<'a> Words<'a> {
    pub fn byte(&mut self) -> Result<u8, Malformed> {
        let (&byte, rest) = self.0.split_first().ok_or(Malformed)?;
        self.0 = rest;
        Ok(byte)
    }

    pub fn take(&mut self, bytes: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    pub fn number(&mut self) -> Result<u64, Malformed> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return Err(Malformed);
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Malformed)
    }

    /// A number of 32 bits.
    pub fn small(&mut self) -> Result<u32, Malformed> {
        self.number()?.try_into().map_err(|_| Malformed)
    }

    /// How many things follow, of which each takes a byte at the least.
    pub fn count(&mut self, most: usize) -> Result<usize, Malformed> {
        let count = usize::try_from(self.number()?).map_err(|_| Malformed)?;
        let possible = count <= most.min(self.0.len());
        possible.then_some(count).ok_or(Malformed)
    }

    /// A number, by how much it changed.
    pub fn changed(&mut self, before: u64) -> Result<u64, Malformed> {
        let word = self.number()?;
        let change = (word >> 1).cast_signed() ^ -(word & 1).cast_signed();
        Ok(before.wrapping_add(change.cast_unsigned()))
    }

    pub fn text(&mut self) -> Result<String, Malformed> {
        let bytes = self.count(MAX_TEXT)?;
        let text = std::str::from_utf8(self.take(bytes)?);
        text.map(str::to_owned).map_err(|_| Malformed)
    }
}

#[cfg(test)]
mod tests {
    //! Goal: what is written is read again, and nothing is read that is not there. Method: numbers
    //! at the edges, each cut everywhere.
    use super::*;

    #[test]
    fn numbers_are_read_as_they_were_written() {
        let edges = (0..64).flat_map(|bit| [1u64 << bit, (1 << bit) - 1]);
        for number in edges.chain([u64::MAX]) {
            let mut bytes = Vec::new();
            put(&mut bytes, number);
            for before in [0, 5, number, u64::MAX] {
                let at = bytes.len();
                put_change(&mut bytes, before, number);
                assert_eq!(Words(&bytes[at..]).changed(before), Ok(number));
                bytes.truncate(at);
            }
            assert_eq!(Words(&bytes).number(), Ok(number));
            for end in 0..bytes.len() {
                assert_eq!(Words(&bytes[..end]).number(), Err(Malformed));
            }
        }
        assert_eq!(Words(&[0xff; 12]).number(), Err(Malformed));
        assert_eq!(
            Words(&[0xff; 9].into_iter().chain([2]).collect::<Vec<_>>()).number(),
            Err(Malformed)
        );
    }

    #[test]
    fn texts_are_cut_where_a_character_ends() {
        let mut bytes = Vec::new();
        put_text(&mut bytes, &"é".repeat(200));
        assert_eq!(Words(&bytes).text(), Ok("é".repeat(128)));
        assert_eq!(Words(&[200, 1, b'a']).text(), Err(Malformed));
        assert_eq!(Words(&[1, 0xff]).text(), Err(Malformed));
    }
}
