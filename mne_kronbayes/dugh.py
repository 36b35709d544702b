"""Type-II likelihood of a Kronecker space-time model, lowered by majorization-minimization."""

from __future__ import annotations
from dataclasses import dataclass
import numpy as np
from scipy.linalg import cho_solve, cholesky, solve_triangular
from mne_kronbayes.temporal import TEMPORAL

def dugh(data, gain, n_orient=1, *, temporal="toeplitz", noise="diagonal", noise_basis=None, max_iter=200, tol=1e-6, prune=1e-10,verbose=True):
    G,M,T=data.shape
    fam=TEMPORAL[temporal](T)
    P=np.eye(M) if noise_basis is None else noise_basis
    v=(data**2).sum()/(G*M*T)   # mean power per channel
    norms=(gain**2).sum(0)
    gamma=np.full(gain.shape[1], 0.5*v*M/norms.sum())
    lam=np.ones(P.shape[1])
    if noise!='fixed': lam*=0.5*v*M/(P**2).sum()
    active=np.arange(gain.shape[1])
    costs=[]
    L=gain
    for it in range(max_iter):
        S=(L*gamma)@L.T+(P*lam)@P.T
        C=cholesky(S,lower=True)
        R=solve_triangular(C,data.transpose(1,0,2).reshape(M,-1),lower=True)  # M x G T
        rows=R.reshape(M*G,T)
        Z=fam.whiten(rows)
        cost=T*2*np.log(np.diag(C)).sum()+M*fam.log_det+(Z**2).sum()/G
        costs.append(cost)
        if it>1 and (costs[-2]-cost)<tol*M*T: break
        fam.update(rows)
        Z=fam.whiten(rows).reshape(M,G*T)
        # factor of M_space whitened: C^-1 Mspace C^-T = Z Z^T/(TG)
        MS=Z@Z.T/(T*G)
        F=cholesky(MS+1e-14*np.trace(MS)*np.eye(M),lower=True)
        Ci=solve_triangular(C,np.eye(M),lower=True)
        K=np.vstack([Ci,F.T@Ci])
        def ratio(A,n):
            V=(K@A)**2
            den=V[:M].sum(0).reshape(-1,n).sum(1); num=V[M:].sum(0).reshape(-1,n).sum(1)
            return np.repeat(np.sqrt(num/den),n)
        gamma=gamma*ratio(L,n_orient)
        if noise=='diagonal': lam=lam*ratio(P,1)
        elif noise=='scalar':
            V=(K@P)**2; lam=lam*np.sqrt(V[M:].sum()/V[:M].sum())
        s=fam.normalize() if noise!='fixed' else 1.; gamma=gamma*s; 
        if noise!='fixed': lam=lam*s
        elif s!=1: pass
        ex=(gamma*norms[active]).reshape(-1,n_orient).sum(1)
        keep=np.repeat(ex>prune*ex.max(),n_orient)
        if not keep.all():
            L=L[:,keep]; gamma=gamma[keep]; active=active[keep]
    Sx=np.linalg.solve(S,data)
    X=gamma[:,None]*(L.T@Sx) if G==1 else (gamma[:,None]*L.T)[None]@Sx
    return dict(X=X,active=active,gamma=gamma,lam=lam,fam=fam,costs=np.array(costs))
