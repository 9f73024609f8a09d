/* SPDX-License-Identifier: Apache-2.0
 *
 * A program of the build: prints crc32c_tables.h. Polynomials over GF(2) modulo P are kept
 * reflected: bit 31 is the coefficient of x^0.
 *
 * crc32c_bytes[k][b]: the remainder after byte b and k zero bytes (slicing by 8).
 * crc32c_powers[d][n]: x^(8 * n * 256^d - 33): what a checksum is multiplied by to stand n * 256^d
 * bytes earlier. The 33 cancels the x^33 that carry-less product and reduction add (see multiply in
 * crc32c.c).
 */
#include <stdint.h>
#include <stdio.h>

#define POLYNOMIAL 0x82f63b78u
#define ONE        0x80000000u
/* P is (x + 1) times a primitive polynomial of degree 31, so x^ORDER is 1. */
#define ORDER 0x7fffffffu

static uint32_t times_x(uint32_t a)
{
    return (a >> 1) ^ ((a & 1) ? POLYNOMIAL : 0);
}

static uint32_t times(uint32_t a, uint32_t b)
{
    uint32_t product = 0;
    for (uint32_t bit = ONE; bit; bit >>= 1) {
        if (a & bit)
            product ^= b;
        b = times_x(b);
    }
    return product;
}

static uint32_t power_of_x(uint64_t exponent)
{
    uint32_t result = ONE;
    for (uint32_t square = ONE >> 1; exponent; exponent >>= 1) {
        if (exponent & 1)
            result = times(result, square);
        square = times(square, square);
    }
    return result;
}

static void print_bytes(void)
{
    uint32_t row[256];
    printf("static const uint32_t crc32c_bytes[8][256] = {\n");
    for (uint32_t k = 0; k < 8; k++) {
        printf("{");
        for (uint32_t b = 0; b < 256; b++) {
            uint32_t remainder = k ? row[b] : b;
            for (int i = 0; i < 8; i++)
                remainder = times_x(remainder);
            row[b] = remainder;
            printf("0x%08xu,", remainder);
        }
        printf("},\n");
    }
    printf("};\n");
}

static void print_powers(void)
{
    printf("static const uint32_t crc32c_powers[8][256] = {\n");
    for (uint32_t digit = 0; digit < 8; digit++) {
        printf("{");
        for (uint64_t n = 0; n < 256; n++) {
            uint64_t bits = (8 * n * ((1ull << 8 * digit) % ORDER)) % ORDER;
            printf("0x%08xu,", power_of_x(bits + ORDER - 33));
        }
        printf("},\n");
    }
    printf("};\n");
}

int main(void)
{
    printf("/* Printed by crc32c_tables.c. */\n#include <stdint.h>\n");
    print_bytes();
    print_powers();
    return 0;
}
