/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/soak/soak_net.h"

#include "bench/local.h"

#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Runs `ip` with these arguments; its complaints are of no interest. */
static bool ip(const char *format, ...) __attribute__((format(printf, 1, 2)));
static bool ip(const char *format, ...)
{
    char command[400] = "ip ";
    va_list args;
    va_start(args, format);
    vsnprintf(command + 3, sizeof(command) - 3 - 16, format, args);
    va_end(args);
    strcat(command, " >/dev/null 2>&1");
    return system(command) == 0;
}

static bool make_place(const struct soak_net *net, uint32_t place)
{
    const char *p = net->prefix;
    return ip("netns add %s-%u", p, place) && ip("-n %s-%u link set lo up", p, place) &&
           ip("-n %s-x link add v%u type veth peer name e0 netns %s-%u", p, place, p, place) &&
           ip("-n %s-x link set v%u master bra up", p, place) &&
           ip("-n %s-%u addr add 10.77.0.%u/24 dev e0", p, place, place + 1) &&
           ip("-n %s-%u link set e0 up", p, place);
}

static bool make_namespaces(struct soak_net *net)
{
    const char *p = net->prefix;
    bool is_made = geteuid() == 0 && ip("netns add %s-x", p) &&
                   ip("-n %s-x link add bra type bridge", p) && ip("-n %s-x link set bra up", p) &&
                   ip("-n %s-x link add brb type bridge", p) && ip("-n %s-x link set brb up", p);
    for (uint32_t place = 0; place < SOAK_PLACES && is_made; place++)
        is_made = make_place(net, place);
    return is_made;
}

static void delete_namespaces(const struct soak_net *net)
{
    for (uint32_t place = 0; place < SOAK_PLACES; place++)
        ip("netns delete %s-%u", net->prefix, place);
    ip("netns delete %s-x", net->prefix);
}

bool soak_net_make(struct soak_net *net, bool wants_namespaces)
{
    memset(net, 0, sizeof(*net));
    snprintf(net->prefix, sizeof(net->prefix), "rr-soak-%d", (int)getpid());
    net->can_cut = wants_namespaces && make_namespaces(net);
    if (net->can_cut)
        return true;
    if (wants_namespaces && geteuid() == 0)
        delete_namespaces(net);
    return local_ports(net->ports, SOAK_PLACES);
}

void soak_net_free(struct soak_net *net)
{
    if (net->can_cut)
        delete_namespaces(net);
}

void soak_net_address(const struct soak_net *net, uint32_t place, char address[SOAK_ADDRESS_MAX])
{
    if (net->can_cut)
        snprintf(address, SOAK_ADDRESS_MAX, "10.77.0.%u:7000", place + 1);
    else
        snprintf(address, SOAK_ADDRESS_MAX, "127.0.0.1:%u", net->ports[place]);
}

void soak_net_namespace(const struct soak_net *net, uint32_t place, char name[64])
{
    name[0] = 0;
    if (net->can_cut)
        snprintf(name, 64, "%s-%u", net->prefix, place);
}

bool soak_net_enter(const char *name)
{
    char path[128];
    snprintf(path, sizeof(path), "/run/netns/%s", name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool is_in = fd >= 0 && setns(fd, CLONE_NEWNET) == 0;
    if (fd >= 0)
        close(fd);
    return is_in;
}

static void move_place(struct soak_net *net, uint32_t place, bool is_away)
{
    if (net->is_away[place] == is_away)
        return;
    ip("-n %s-x link set v%u master %s", net->prefix, place, is_away ? "brb" : "bra");
    net->is_away[place] = is_away;
}

void soak_net_split(struct soak_net *net, uint32_t places)
{
    for (uint32_t place = 0; place < SOAK_PLACES && net->can_cut; place++)
        move_place(net, place, places >> place & 1);
}

void soak_net_mute(struct soak_net *net, uint32_t from, uint32_t to)
{
    if (!net->can_cut || from == to || net->mutes[from] >> to & 1)
        return;
    ip("-n %s-%u route add blackhole 10.77.0.%u/32", net->prefix, from, to + 1);
    net->mutes[from] |= (uint8_t)(1u << to);
}

void soak_net_heal(struct soak_net *net)
{
    for (uint32_t place = 0; place < SOAK_PLACES && net->can_cut; place++) {
        move_place(net, place, false);
        for (uint32_t to = 0; to < SOAK_PLACES; to++)
            if (net->mutes[place] >> to & 1)
                ip("-n %s-%u route delete blackhole 10.77.0.%u/32", net->prefix, place, to + 1);
        net->mutes[place] = 0;
    }
}
