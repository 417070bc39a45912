/* The limit: NFLOG group 100 read in C, with the reader's settings and a line for each new
 * destination.  It checks no more than it has to and knows IPv4 only.  SIGTERM ends it; then it
 * tells on stderr how many packets it saw and how many numbers were missing.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <linux/netlink.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef SO_RCVBUFFORCE
#define SO_RCVBUFFORCE 33
#endif

static char buffer[1 << 18], request[256], out[1 << 16];
static size_t out_used;
static uint32_t seen[1 << 18]; /* open addressing; 0 is free */
static unsigned long packets, lines, missing, next_number;
static volatile sig_atomic_t stop;

static void on_term(int number)
{
    (void)number;
    stop = 1;
}

static size_t attribute(size_t at, int type, const void *value, size_t size)
{
    struct nlattr *a = (struct nlattr *)(request + at);
    a->nla_len = NLA_HDRLEN + size;
    a->nla_type = type;
    memcpy(request + at + NLA_HDRLEN, value, size);
    return at + NLA_ALIGN(a->nla_len);
}

static void bind_group(int fd)
{
    struct nlmsghdr *header = (struct nlmsghdr *)request;
    struct nfgenmsg *body = (struct nfgenmsg *)(request + NLMSG_HDRLEN);
    struct nfulnl_msg_config_cmd bind_it = {.command = NFULNL_CFG_CMD_BIND};
    struct nfulnl_msg_config_mode mode = {.copy_range = htonl(128), .copy_mode = NFULNL_COPY_PACKET};
    uint32_t size = htonl(65536), none = 0, many = htonl(100000);
    uint16_t flags = htons(NFULNL_CFG_F_SEQ);
    body->res_id = htons(100);
    size_t at = NLMSG_HDRLEN + sizeof *body;
    at = attribute(at, NFULA_CFG_CMD, &bind_it, sizeof bind_it);
    at = attribute(at, NFULA_CFG_MODE, &mode, sizeof mode);
    at = attribute(at, NFULA_CFG_NLBUFSIZ, &size, sizeof size);
    at = attribute(at, NFULA_CFG_TIMEOUT, &none, sizeof none);
    at = attribute(at, NFULA_CFG_QTHRESH, &many, sizeof many);
    at = attribute(at, NFULA_CFG_FLAGS, &flags, sizeof flags);
    header->nlmsg_len = at;
    header->nlmsg_type = NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_CONFIG;
    header->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
    send(fd, request, at, 0);
    recv(fd, buffer, sizeof buffer, 0);
    if (((struct nlmsgerr *)(buffer + NLMSG_HDRLEN))->error) {
        fprintf(stderr, "bind: %s\n", strerror(-((struct nlmsgerr *)(buffer + NLMSG_HDRLEN))->error));
        exit(1);
    }
}

static void flush(void)
{
    size_t done = 0;
    while (done < out_used) {
        ssize_t n = write(1, out + done, out_used - done);
        if (n < 0)
            exit(1);
        done += n;
    }
    out_used = 0;
}

static int is_new(uint32_t address)
{
    uint32_t slot = address * 2654435761u >> 14;
    while (seen[slot] && seen[slot] != address)
        slot = (slot + 1) & ((1 << 18) - 1);
    if (seen[slot])
        return 0;
    seen[slot] = address;
    return 1;
}

static void packet(const unsigned char *ip, const char *prefix)
{
    uint32_t address;
    char text[INET_ADDRSTRLEN];
    memcpy(&address, ip + 16, 4);
    if (ip[0] != 0x45 || strncmp(prefix, "TEROK_SHIELD_BLOCKED: ", 22) || !is_new(address))
        return;
    inet_ntop(AF_INET, ip + 16, text, sizeof text);
    out_used += sprintf(out + out_used,
                        "{\"type\":\"pending\",\"container\":\"c1\",\"id\":\"c1:%lu\",\"dest\":\"%s\","
                        "\"port\":%d,\"proto\":%d,\"domain\":\"\",\"dossier\":{},"
                        "\"ts\":\"2026-01-31T17:32:05.123+00:00\",\"class\":\"default\",\"uid\":0}\n",
                        ++lines, text, ip[22] << 8 | ip[23], ip[9]);
    if (out_used > sizeof out - 512)
        flush();
}

int main(void)
{
    int size = 16 << 20, fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER);
    struct sigaction action = {.sa_handler = on_term};
    sigaction(SIGTERM, &action, NULL);
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size))
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    bind_group(fd);
    puts("{\"type\":\"container_started\",\"container\":\"c1\"}");
    fflush(stdout);
    while (!stop) {
        ssize_t n = recv(fd, buffer, sizeof buffer, out_used ? MSG_DONTWAIT : 0);
        if (n < 0 && errno == EAGAIN)
            flush();
        if (n < 0)
            continue;
        int left = n;
        for (struct nlmsghdr *m = (struct nlmsghdr *)buffer; NLMSG_OK(m, left); m = NLMSG_NEXT(m, left)) {
            const char *at = (char *)m + NLMSG_HDRLEN + sizeof(struct nfgenmsg), *prefix = "";
            const char *end = (char *)m + m->nlmsg_len;
            const unsigned char *ip = NULL;
            if (m->nlmsg_type != (NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET))
                continue;
            packets++;
            while (at + NLA_HDRLEN <= end) {
                const struct nlattr *a = (const struct nlattr *)at;
                uint32_t number;
                if (a->nla_len < NLA_HDRLEN)
                    break;
                if (a->nla_type == NFULA_PREFIX)
                    prefix = at + NLA_HDRLEN;
                else if (a->nla_type == NFULA_PAYLOAD)
                    ip = (const unsigned char *)at + NLA_HDRLEN;
                else if (a->nla_type == NFULA_SEQ) {
                    memcpy(&number, at + NLA_HDRLEN, 4);
                    missing += (uint32_t)(ntohl(number) - next_number);
                    next_number = (uint32_t)(ntohl(number) + 1);
                }
                at += NLA_ALIGN(a->nla_len);
            }
            if (ip)
                packet(ip, prefix);
        }
    }
    flush();
    fprintf(stderr, "packets %lu missing %lu\n", packets, missing);
    return 0;
}
