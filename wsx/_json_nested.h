/* The loop of wsx_after_nested (_json.h), compiled once for each set of instructions that a processor may have.
 *
 * Before each inclusion are defined: WSX_NESTED, its name; WSX_TARGET, an attribute; WSX_MARK, WSX_COUNT, WSX_PREFIX_XOR,
 * what it is made of.
 */

WSX_TARGET
static const uint8_t *WSX_NESTED(const uint8_t *at, const uint8_t *end)
{
    uint8_t rest[WSX_BLOCK];
    uint64_t in_string = 0; /* all ones where the block before ended inside a string */
    unsigned carry = 0;
    int64_t depth = 0;
    for (; at < end; at += WSX_BLOCK) {
        const uint8_t *block = at;
        wsx_marks marks;
        if (end - at < WSX_BLOCK) {
            memset(rest, 0, sizeof(rest));
            memcpy(rest, at, (size_t)(end - at));
            block = rest;
        }
        WSX_MARK(block, &marks);
        if (marks.backslashes | carry)
            marks.quotes &= ~wsx_escaped(marks.backslashes, &carry);
        uint64_t inside = WSX_PREFIX_XOR(marks.quotes) ^ in_string;
        in_string = (uint64_t)((int64_t)inside >> 63);
        uint64_t opens = marks.opens & ~inside, closes = marks.closes & ~inside;
        int closing = WSX_COUNT(closes);
        if (depth <= closing) {
            int64_t closed = 0;
            for (uint64_t left = closes; left; left &= left - 1) {
                uint64_t lowest = left & (0 - left);
                closed++;
                if (depth + WSX_COUNT(opens & (lowest - 1)) == closed)
                    return at + wsx_lowest_bit(left) + 1;
            }
        }
        depth += WSX_COUNT(opens) - closing;
    }
    return NULL;
}

#undef WSX_NESTED
#undef WSX_TARGET
#undef WSX_MARK
#undef WSX_COUNT
#undef WSX_PREFIX_XOR
