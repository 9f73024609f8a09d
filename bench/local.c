/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/local.h"

#include <arpa/inet.h>
#include <ftw.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

/* Bound together, so that they differ; released together. */
bool local_ports(uint16_t *ports, uint32_t count)
{
    int fds[LOCAL_PORTS_MAX];
    bool good = count <= LOCAL_PORTS_MAX;
    uint32_t opened = 0;
    for (; good && opened < count; opened++) {
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
        socklen_t size = sizeof(address);
        fds[opened] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        good = fds[opened] >= 0 &&
               bind(fds[opened], (struct sockaddr *)&address, sizeof(address)) == 0 &&
               getsockname(fds[opened], (struct sockaddr *)&address, &size) == 0;
        ports[opened] = ntohs(address.sin_port);
    }
    while (opened-- > 0)
        close(fds[opened]);
    return good;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st;
    (void)type;
    (void)where;
    return remove(path);
}

void local_remove(const char *dir)
{
    nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
