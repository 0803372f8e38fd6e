//! Addresses of cloud metadata services, which often serve credentials, as published by the providers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The metadata service of one provider or product.
#[derive(Debug)]
struct Service {
    /// Provider or product.
    product: &'static str,
    addresses: &'static [IpAddr],
    /// Publisher of the addresses.
    source: &'static str,
}

/// The address that most providers have adopted from Amazon EC2.
const COMMON: IpAddr = v4(169, 254, 169, 254);

const SERVICES: [Service; 19] = [
    Service {
        product: "Akamai (Linode)",
        addresses: &[COMMON, v6([0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 1]), LINK_LOCAL],
        source: "techdocs.akamai.com/cloud-computing/docs/metadata-service-api",
    },
    Service {
        product: "Alibaba Cloud ECS",
        addresses: &[v4(100, 100, 100, 200), v6([0xfd00, 0x100, 0, 0, 0, 0, 0x100, 0x200])],
        source: "alibabacloud.com/help/en/ecs/user-guide/view-instance-metadata; cloud-init: datasources/aliyun",
    },
    Service {
        product: "Amazon EC2",
        addresses: &[COMMON, v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254])],
        source: "docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html",
    },
    Service {
        product: "Amazon ECS tasks",
        addresses: &[v4(169, 254, 170, 2)],
        source: "docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html",
    },
    Service {
        product: "Amazon EKS Pod Identity",
        addresses: &[v4(169, 254, 170, 23), v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23])],
        source: "docs.aws.amazon.com/eks/latest/userguide/pod-id-agent-setup.html",
    },
    Service {
        product: "Azure instance metadata",
        addresses: &[COMMON],
        source: "learn.microsoft.com/azure/virtual-machines/instance-metadata-service",
    },
    Service {
        product: "Azure WireServer",
        addresses: &[v4(168, 63, 129, 16)],
        source: "learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16",
    },
    Service {
        product: "DigitalOcean",
        addresses: &[COMMON],
        source: "docs.digitalocean.com/products/droplets/how-to/access-metadata",
    },
    Service {
        product: "Exoscale",
        addresses: &[COMMON],
        source: "cloud-init: datasources/exoscale",
    },
    Service {
        product: "Google Cloud",
        addresses: &[COMMON, v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254])],
        source: "cloud.google.com/compute/docs/metadata/querying-metadata",
    },
    Service {
        product: "Hetzner Cloud",
        addresses: &[COMMON],
        source: "docs.hetzner.cloud/reference/cloud#server-metadata",
    },
    Service {
        product: "IBM Cloud VPC",
        addresses: &[COMMON],
        source: "cloud.ibm.com/docs/vpc?topic=vpc-imd-about",
    },
    Service {
        product: "OpenStack (OVHcloud, Huawei Cloud, T Cloud Public and others)",
        addresses: &[COMMON, LINK_LOCAL],
        source: "docs.openstack.org/nova/latest/admin/metadata-service.html",
    },
    Service {
        product: "Oracle Cloud at Customer",
        addresses: &[v4(192, 0, 0, 192)],
        source: "docs.oracle.com/en/cloud/cloud-at-customer/occ-get-started/retrieve-predefined-instance-metadata.html",
    },
    Service {
        product: "Oracle Cloud Infrastructure",
        addresses: &[COMMON, v6([0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe])],
        source: "docs.oracle.com/iaas/Content/Compute/Tasks/gettingmetadata.htm; oracle/oci-python-sdk",
    },
    Service {
        product: "Scaleway",
        addresses: &[v4(169, 254, 42, 42), v6([0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42])],
        source: "cloud-init: datasources/scaleway",
    },
    Service {
        product: "Tencent Cloud",
        addresses: &[v4(169, 254, 0, 23)],
        source: "metadata.tencentyun.com, tencentcloud.com/document/product/213/4934; DataDog/datadog-agent",
    },
    Service {
        product: "UpCloud",
        addresses: &[COMMON],
        source: "cloud-init: datasources/upcloud",
    },
    Service {
        product: "Vultr",
        addresses: &[COMMON],
        source: "vultr.com/metadata; cloud-init: datasources/vultr",
    },
];

/// The IPv6 link-local counterpart of [`COMMON`].
const LINK_LOCAL: IpAddr = v6([0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe]);

const fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

const fn v6(of: [u16; 8]) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(of[0], of[1], of[2], of[3], of[4], of[5], of[6], of[7]))
}

pub(super) fn is_service(address: IpAddr) -> bool {
    SERVICES.iter().any(|service| service.addresses.contains(&address))
}

/// Returns the product, the addresses and the source of each service, for the documentation.
pub(super) fn rows() -> impl Iterator<Item = (&'static str, String, &'static str)> {
    SERVICES.iter().map(|service| {
        let addresses: Vec<_> = service.addresses.iter().map(IpAddr::to_string).collect();
        (service.product, addresses.join(", "), service.source)
    })
}

#[cfg(test)]
mod tests {
    use super::{SERVICES, is_service};

    #[test]
    fn each_row_has_a_product_addresses_and_a_source() {
        assert!(SERVICES.is_sorted_by_key(|service| service.product.to_lowercase()));
        for service in &SERVICES {
            assert!(
                !service.source.is_empty() && !service.addresses.is_empty(),
                "{service:?}"
            );
            assert!(service.addresses.iter().all(|address| is_service(*address)));
        }
    }
}
