/* SPDX-License-Identifier: Apache-2.0 */
#include "raft/quorum.h"

uint64_t quorum_committed(uint64_t *acked, size_t count)
{
    if (count == 0)
        return QUORUM_INDEX_MAX;
    /* Insertion sort, ascending: groups have a handful of voters. */
    for (size_t i = 1; i < count; i++) {
        uint64_t value = acked[i];
        size_t j = i;
        for (; j > 0 && acked[j - 1] > value; j--)
            acked[j] = acked[j - 1];
        acked[j] = value;
    }
    return acked[count - (count / 2 + 1)];
}

enum vote_result quorum_vote(size_t voters, size_t granted, size_t rejected)
{
    RR_ASSERT(granted + rejected <= voters);
    if (voters == 0)
        return VOTE_WON;
    size_t majority = voters / 2 + 1;
    if (granted >= majority)
        return VOTE_WON;
    if (voters - rejected >= majority)
        return VOTE_PENDING;
    return VOTE_LOST;
}

enum vote_result quorum_vote_joint(enum vote_result incoming, enum vote_result outgoing)
{
    if (incoming == outgoing)
        return incoming;
    if (incoming == VOTE_LOST || outgoing == VOTE_LOST)
        return VOTE_LOST;
    return VOTE_PENDING;
}
