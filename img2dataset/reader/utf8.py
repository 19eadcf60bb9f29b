"""Whether a file is UTF-8 text, told by its beginning."""

from __future__ import annotations

from img2dataset.errors import OptionsError

HEAD = 4096  # bytes that show it
STRAY = 0.001  # of the bytes may be zero, as a row's own fault; of compressed ones four times as many are


def require_text(head: bytes, path: str) -> None:
    """Raises `OptionsError` when the beginning of a file is not UTF-8, which has no zeros but stray ones."""
    if encoding := _wide_encoding(head):
        raise OptionsError(
            f"{path} is written in {encoding}, and a list of text must be UTF-8; "
            f"convert it: iconv -f {encoding} -t UTF-8 OLD > NEW"
        )
    if _share_of_zeros(head) > STRAY:
        raise OptionsError(
            f"{path} is no text file: it begins with bytes that no text has; give input_format if it is a parquet file "
            "and the extension of its compression (.gz, .zip, ...) if it is compressed"
        )


def _wide_encoding(head: bytes) -> str | None:
    """``UTF-16`` or ``UTF-32`` where the beginning of a file shows it, by its mark or by where zeros stand."""
    if head.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return "UTF-32"
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "UTF-16"
    first, second, third, fourth = (_share_of_zeros(head[place::4]) for place in range(4))
    if third > 0.5 and fourth > 0.9 and first < 0.5:
        return "UTF-32-LE"
    if first > 0.9 and second > 0.5 and fourth < 0.5:
        return "UTF-32-BE"
    even, odd = first + third, second + fourth
    if max(even, odd) > 1.0 and min(even, odd) < 0.5:  # few are the letters of which the other half is zero
        return "UTF-16-BE" if even > odd else "UTF-16-LE"
    return None


def _share_of_zeros(data: bytes) -> float:
    return data.count(0) / max(len(data), 1)
