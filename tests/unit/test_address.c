/* SPDX-License-Identifier: Apache-2.0
 *
 * Endpoints as text: one meaning each, everything else refused.
 */
#include "io/address.h"

#include "proto/base.h"
#include "tests/unit/check.h"

static void test_good_addresses_are_parsed_and_printed_back(void)
{
    static const struct {
        const char *text;
        struct io_address address;
    } good[] = {
        {"127.0.0.1:7001", {0x7f000001, 7001}},
        {"0.0.0.0:0", {0, 0}},
        {"255.255.255.255:65535", {0xffffffff, 65535}},
        {"10.1.2.30:80", {0x0a01021e, 80}},
    };
    for (size_t i = 0; i < RR_ARRAY_SIZE(good); i++) {
        struct io_address address = {1, 1};
        char text[IO_ADDRESS_TEXT_SIZE];
        CHECK(io_address_parse(good[i].text, &address, NULL) == 0);
        CHECK(io_address_equal(&address, &good[i].address));
        io_address_format(&address, text);
        CHECK(strcmp(text, good[i].text) == 0);
    }
}

static void test_bad_addresses_are_refused_and_quoted(void)
{
    static const char *const bad[] = {
        "",
        "127.0.0.1",
        "localhost:7001",
        "127.0.0.1:",
        "127.0.0.1:65536",
        ":7001",
        "127.0.0:7001",
        "256.0.0.1:1",
        "127.0.0.1:x",
        "127.0.0.1:7001 ",
        "[::1]:7",
        "127.0.0.1.2:1",
        "127.0.0.1:-1",
        "127.0.0.01:1",
        " 127.0.0.1:1",
        "1.2.3.4:+",
        "127.0.0.1:01",
        "127.0.0.1:99999999999999999999",
        "4294967297.0.0.1:1",
    };
    for (size_t i = 0; i < RR_ARRAY_SIZE(bad); i++) {
        struct io_address address = {5, 5};
        struct rr_error error;
        char quoted[80];
        snprintf(quoted, sizeof(quoted), "\"%s\"", bad[i]);
        CHECK(io_address_parse(bad[i], &address, &error) == RR_E_BAD_ADDRESS);
        CHECK(strstr(error.message, quoted) != NULL);
        CHECK(address.ip == 5 && address.port == 5);
    }
}

static void test_a_long_text_is_quoted_only_in_part(void)
{
    struct io_address address;
    struct rr_error error;
    char text[1000];
    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    CHECK(io_address_parse(text, &address, &error) == RR_E_BAD_ADDRESS);
    CHECK(strstr(error.message, "like 127.0.0.1:7001") != NULL);
}

static void test_loopback_is_all_of_127(void)
{
    CHECK(io_address_is_loopback(&(struct io_address){0x7f000001, 1}));
    CHECK(io_address_is_loopback(&(struct io_address){0x7fffffff, 1}));
    CHECK(!io_address_is_loopback(&(struct io_address){0x80000001, 1}));
    CHECK(!io_address_is_loopback(&(struct io_address){0, 1}));
}

int main(void)
{
    RUN(test_good_addresses_are_parsed_and_printed_back);
    RUN(test_bad_addresses_are_refused_and_quoted);
    RUN(test_a_long_text_is_quoted_only_in_part);
    RUN(test_loopback_is_all_of_127);
    return 0;
}
